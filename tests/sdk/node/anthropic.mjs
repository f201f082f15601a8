// Talks to a gateway with the official Anthropic SDK for Node: text, tools, thinking, errors. Arguments: base URL, key.

import assert from "node:assert/strict";

import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { z } from "zod";

import { ONE_CITY, PNG, TWO_CITIES, WEATHER, WEATHER_SCHEMA, script, user } from "./scripted.mjs";

const [url, apiKey] = process.argv.slice(2);
// Anthropic's clients add /v1 themselves.
const baseURL = url.replace(/\/v1$/, "");
const client = new Anthropic({ baseURL, apiKey, maxRetries: 0, timeout: 60_000 });
const common = { model: "codex-5", max_tokens: 4096 };
const tools = [{ name: "get_weather", description: "Tells it.", input_schema: WEATHER_SCHEMA }];
const whole = (messages, options) => client.messages.create({ ...common, messages, ...options });
const streamed = (messages, options) => client.messages.stream({ ...common, messages, ...options }).finalMessage();
const text = ({ content }) => content.map((block) => block.text ?? "").join("");
const calls = ({ content }) => content.filter(({ type }) => type === "tool_use");
const results = (message) => ({
  role: "user",
  content: calls(message).map(({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: WEATHER[input.city] })),
});
const said = ({ role, content }) => ({ role, content });

for (const ask of [whole, streamed]) {
  // Text after thinking.
  const first = await ask([user({ reasoning: ["First this."], text: ["Yes."] })], { thinking: { type: "adaptive", display: "summarized" } });
  assert.deepEqual(first.content.map(({ type }) => type), ["thinking", "text"]);
  assert.equal(first.content[0].thinking, "First this.");

  // Two calls in parallel, their results, the answer; then one call.
  const messages = [user({ text: ["?"] }), said(first), user(TWO_CITIES)];
  let answer = await ask(messages, { tools, system: "Be terse." });
  assert.equal(answer.stop_reason, "tool_use");
  assert.equal(text(answer), "Let me look.");
  assert.deepEqual(calls(answer).map(({ input }) => input.city), ["Paris", "Rome"]);
  messages.push(said(answer), results(answer));
  answer = await ask(messages, { tools });
  assert.equal(answer.stop_reason, "end_turn");
  assert.equal(text(answer), "Rome is warmer.");
  messages.push(said(answer), user(ONE_CITY));
  answer = await ask(messages, { tools, tool_choice: { type: "tool", name: "get_weather" } });
  messages.push(said(answer), results(answer));
  assert.equal(text(await ask(messages, { tools })), "18 degrees.");

  answer = await ask([user({ text: ["one END two"] })], { stop_sequences: ["END"] });
  assert.deepEqual([text(answer), answer.stop_reason, answer.stop_sequence], ["one ", "stop_sequence", "END"]);

  const picture = { type: "image", source: { type: "base64", media_type: "image/png", data: PNG.split(",")[1] } };
  const content = [picture, { type: "text", text: script({ text: ["A pixel."] }) }];
  assert.equal(text(await ask([{ role: "user", content }])), "A pixel.");
}

// The SDK runs the tools itself.
for (const stream of [false, true]) {
  const asked = [];
  const get_weather = betaZodTool({
    name: "get_weather",
    description: "Tells it.",
    inputSchema: z.object({ city: z.string() }),
    run: ({ city }) => {
      asked.push(city);
      return WEATHER[city];
    },
  });
  const runner = client.beta.messages.toolRunner({ ...common, messages: [user(TWO_CITIES)], tools: [get_weather], stream });
  assert.equal(text(await runner.runUntilDone()), "Rome is warmer.");
  assert.deepEqual(asked.sort(), ["Paris", "Rome"]);
}

const count = await client.messages.countTokens({ model: "codex-5", messages: [{ role: "user", content: "x".repeat(400) }] });
assert.equal(count.input_tokens, 100);
const models = [];
for await (const model of client.models.list()) models.push(model);
assert.ok(models.length > 3);
assert.deepEqual(await client.models.retrieve(models[0].id), models[0]);

// Errors are the SDK's own.
const unknown = client.messages.create({ ...common, model: "claude-sonnet-4-5", messages: [user({})] });
await assert.rejects(unknown, Anthropic.NotFoundError);
await assert.rejects(whole([]), Anthropic.BadRequestError);
const stranger = new Anthropic({ baseURL, apiKey: "sk-stranger", maxRetries: 0 });
await assert.rejects(stranger.messages.create({ ...common, messages: [user({})] }), Anthropic.AuthenticationError);
await assert.rejects(streamed([user({ text: ["a ", "b ", "c "], cut: 2 })]), Anthropic.APIError);

console.log("all well");
