// Talks to a gateway with the official OpenAI SDK for Node: chat, responses, tools, errors. Arguments: base URL, key.

import assert from "node:assert/strict";

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

import { ONE_CITY, TWO_CITIES, WEATHER, WEATHER_SCHEMA, script, user } from "./scripted.mjs";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60_000 });
const model = "codex-5";
const City = z.object({ name: z.string(), degrees: z.number() });
const rome = { text: ['{"name": "Rome",', ' "degrees": 24}'] };
const cities = (calls) => calls.map((call) => JSON.parse((call.function ?? call).arguments).city);

// Chat: two calls in parallel, their results, the answer.
const tools = [{ type: "function", function: { name: "get_weather", parameters: WEATHER_SCHEMA } }];
const whole = (messages) => client.chat.completions.create({ model, messages, tools });
const streamed = (messages) => client.chat.completions.stream({ model, messages, tools }).finalChatCompletion();
for (const ask of [whole, streamed]) {
  const messages = [user(TWO_CITIES)];
  let [choice] = (await ask(messages)).choices;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, "Let me look.");
  assert.deepEqual(cities(choice.message.tool_calls), ["Paris", "Rome"]);
  messages.push(choice.message);
  for (const call of choice.message.tool_calls) {
    const [city] = cities([call]);
    messages.push({ role: "tool", tool_call_id: call.id, content: WEATHER[city] });
  }
  [choice] = (await ask(messages)).choices;
  assert.equal(choice.message.content, "Rome is warmer.");
  assert.equal(choice.finish_reason, "stop");
}

// The SDK's helper that runs the functions itself.
for (const stream of [false, true]) {
  const asked = [];
  const get_weather = {
    type: "function",
    function: {
      name: "get_weather",
      parameters: WEATHER_SCHEMA,
      parse: JSON.parse,
      function: ({ city }) => {
        asked.push(city);
        return WEATHER[city];
      },
    },
  };
  const runner = client.chat.completions.runTools({ model, messages: [user(TWO_CITIES)], tools: [get_weather], stream });
  assert.equal(await runner.finalContent(), "Rome is warmer.");
  assert.deepEqual(asked.sort(), ["Paris", "Rome"]);
}

const parsed = await client.chat.completions.parse({
  model,
  messages: [user(rome)],
  response_format: zodResponseFormat(City, "city"),
});
assert.deepEqual(parsed.choices[0].message.parsed, { name: "Rome", degrees: 24 });

// Chat as bare chunks, with usage.
const chunks = [];
const options = { model, messages: [user({ text: ["One ", "two."] })], stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create(options)) chunks.push(chunk);
assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), "One two.");
assert.equal(chunks.at(-1).usage.total_tokens, 150);

// Responses: two calls in parallel, their outputs, the answer.
const flat = [{ type: "function", name: "get_weather", parameters: WEATHER_SCHEMA, strict: true }];
const create = (request) => client.responses.create({ model, tools: flat, ...request });
const follow = (request) => client.responses.stream({ model, tools: flat, ...request }).finalResponse();
for (const ask of [create, follow]) {
  const first = await ask({ input: script(TWO_CITIES) });
  const calls = first.output.filter((item) => item.type === "function_call");
  assert.deepEqual(cities(calls), ["Paris", "Rome"]);
  const outputs = calls.map(({ call_id }, at) => ({ type: "function_call_output", call_id, output: Object.values(WEATHER)[at] }));
  const second = await ask({ input: outputs, previous_response_id: first.id });
  assert.equal(second.output_text, "Rome is warmer.");
  const third = await ask({ input: script(ONE_CITY), previous_response_id: second.id });
  assert.deepEqual(cities(third.output), ["Paris"]);

  // All of it again instead of a memory.
  const output = { type: "function_call_output", call_id: third.output[0].call_id, output: "18 degrees" };
  const again = await ask({ input: [user(ONE_CITY), ...third.output, output], store: false });
  assert.equal(again.output_text, "18 degrees.");
}
const answer = await client.responses.parse({ model, input: script(rome), text: { format: zodTextFormat(City, "city") } });
assert.deepEqual(answer.output_parsed, { name: "Rome", degrees: 24 });

// Errors are the SDK's own.
await assert.rejects(client.chat.completions.create({ model: "gpt-nope", messages: [user({})] }), OpenAI.NotFoundError);
await assert.rejects(create({ input: [] }), OpenAI.BadRequestError);
const stranger = new OpenAI({ baseURL, apiKey: "sk-stranger", maxRetries: 0 });
await assert.rejects(stranger.responses.create({ model, input: "hi" }), OpenAI.AuthenticationError);
const broken = { model, messages: [user({ text: ["a ", "b ", "c "], cut: 2 })], stream: true };
await assert.rejects(async () => {
  for await (const _ of await client.chat.completions.create(broken));
}, OpenAI.APIError);

console.log("all well");
