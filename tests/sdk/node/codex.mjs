// Runs turns of the Codex SDK, whose Codex is the one it comes with. Arguments: base URL, key.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Codex } from "@openai/codex-sdk";

import { call, script } from "./scripted.mjs";

const [baseUrl, apiKey] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), "codex-sdk-"));
const run = (cmd) => call("client_exec_command", { cmd });

try {
  const codex = new Codex({ baseUrl, apiKey, env: { PATH: process.env.PATH, HOME: home, CODEX_HOME: home } });
  const thread = codex.startThread({
    model: "gpt-5.5",
    workingDirectory: home,
    skipGitRepoCheck: true,
    // The sandbox of its commands is the machine's: some give none to a test.
    sandboxMode: "danger-full-access",
  });

  const { events } = await thread.runStreamed(
    script({
      text: ["Let me look."],
      calls: [run("echo one-$((40 + 2))"), run("echo two-$((40 + 3))")],
      then: { text: ["Both ", "done."] },
    }),
  );
  const items = [];
  let usage;
  for await (const event of events) {
    assert(!["error", "turn.failed"].includes(event.type), JSON.stringify(event));
    if (event.type === "item.completed") items.push(event.item);
    if (event.type === "turn.completed") usage = event.usage;
  }
  const said = items.filter((item) => item.type === "agent_message").map((item) => item.text);
  assert.deepEqual(said, ["Let me look.", "Both done."], JSON.stringify(items));
  const ran = items.filter((item) => item.type === "command_execution").map((item) => item.aggregated_output.trim());
  assert.deepEqual(ran.sort(), ["one-42", "two-43"], JSON.stringify(items));
  assert(usage.input_tokens > 0 && usage.output_tokens > 0, JSON.stringify(usage));

  // The conversation goes on, in another process of Codex's.
  const turn = await thread.run(script({ calls: [run("echo three-$((40 + 4))")], then: { text: ["Done ", "again."] } }));
  assert.equal(turn.finalResponse, "Done again.", JSON.stringify(turn));

  const schema = {
    type: "object",
    properties: { degrees: { type: "integer" } },
    required: ["degrees"],
    additionalProperties: false,
  };
  const structured = await thread.run(script({ text: ['{"degrees": 24}'] }), { outputSchema: schema });
  assert.deepEqual(JSON.parse(structured.finalResponse), { degrees: 24 });
} finally {
  rmSync(home, { recursive: true, force: true });
}
console.log("all well");
