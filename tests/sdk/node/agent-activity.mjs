// Follows an agent's work with the OpenAI and Vercel SDKs, which know nothing of it. Arguments: base URL, key.

import assert from "node:assert/strict";

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import OpenAI from "openai";

import { call, script, user } from "./scripted.mjs";

const [baseURL, apiKey] = process.argv.slice(2);
const headers = { "x-proxy-activity": "true" };
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60_000, defaultHeaders: headers });
const model = "codex-5";
const work = { calls: [call("exec_command", { cmd: "echo hello" })], then: { text: ["All ", "done."] } };

// Chat: every chunk is one, the deeds are beside.
let text = "";
const deeds = [];
const asked = { model, messages: [user(work)], stream: true };
for await (const chunk of await client.chat.completions.create(asked)) {
  text += chunk.choices[0].delta.content ?? "";
  deeds.push(...(chunk.choices[0].x_codex?.activity ?? []));
}
assert.equal(text, "All done.");
assert.deepEqual(deeds.map((deed) => [deed.status, deed.command]), [
  ["in_progress", "echo hello"],
  ["completed", "echo hello"],
]);

// The SDK's helpers put the stream together as if there were nothing else.
const completion = await client.chat.completions.stream({ model, messages: [user(work)] }).finalChatCompletion();
assert.equal(completion.choices[0].message.content, "All done.");
const response = await client.responses.stream({ model, input: script(work) }).finalResponse();
assert.equal(response.output_text, "All done.");
assert.equal(response.x_codex.activity[0].output, "hello\n");

// Vercel's, over both.
const providers = [
  createOpenAICompatible({ name: "codex", baseURL, apiKey, headers }).chatModel(model),
  createOpenAI({ baseURL, apiKey, headers }).responses(model),
];
for (const provider of providers) {
  const errors = [];
  const streamed = streamText({ model: provider, prompt: script(work), onError: ({ error }) => errors.push(error) });
  assert.equal(await streamed.text, "All done.");
  assert.deepEqual(errors, []);
}

console.log("all well");
