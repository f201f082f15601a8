// What an app built on Vercel's AI SDK does with a model: text, tools, objects, pictures, streaming and not.

import assert from "node:assert/strict";

import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { ONE_CITY, PNG, TWO_CITIES, WEATHER, script, user } from "./scripted.mjs";

const asked = [];
const tools = {
  get_weather: tool({
    description: "Tells it.",
    inputSchema: z.object({ city: z.string() }),
    execute: ({ city }) => {
      asked.push(city);
      return WEATHER[city];
    },
  }),
};

/** What is left of an answer when it is complete. */
const whole = async (request) => {
  const { text, finishReason, usage, steps, responseMessages, output } = await generateText(request);
  return { text, finishReason, usage, steps, responseMessages, output: request.output && output };
};
const streamed = async (request) => {
  const errors = [];
  const result = streamText({ ...request, onError: ({ error }) => errors.push(error) });
  let told = "";
  for await (const part of result.stream) if (part.type === "text-delta") told += part.text;
  if (errors.length > 0) throw errors[0];
  const text = await result.text;
  assert.ok(told.endsWith(text), told);
  return {
    text,
    finishReason: await result.finishReason,
    usage: await result.usage,
    steps: await result.steps,
    responseMessages: await result.responseMessages,
    output: request.output && (await result.output),
  };
};

/** Does all of that with a model. */
export async function use(model) {
  const base = { model, maxRetries: 0, stopWhen: stepCountIs(3) };
  for (const ask of [whole, streamed]) {
    const plain = await ask({ ...base, instructions: "Be brief.", prompt: script({ text: ["Good ", "day."], reasoning: ["Hm."] }) });
    assert.equal(plain.text, "Good day.");
    assert.equal(plain.finishReason, "stop");
    assert.equal(plain.usage.totalTokens, 150);
    assert.equal(plain.steps[0].reasoningText, "Hm.");

    // Two calls in parallel, which the SDK runs, and the answer.
    asked.length = 0;
    const messages = [user({ ...TWO_CITIES, reasoning: ["Hm."] })];
    const first = await ask({ ...base, tools, messages });
    assert.equal(first.text, "Rome is warmer.");
    assert.deepEqual(first.steps.map((step) => step.finishReason), ["tool-calls", "stop"]);
    assert.deepEqual(asked, ["Paris", "Rome"]);

    // The conversation goes on.
    asked.length = 0;
    messages.push(...first.responseMessages, user(ONE_CITY));
    const second = await ask({ ...base, tools, messages });
    assert.equal(second.text, "18 degrees.");
    assert.deepEqual(asked, ["Paris"]);

    const City = z.object({ name: z.string(), degrees: z.number() });
    const prompt = script({ text: ['{"name": "Rome",', ' "degrees": 24}'] });
    const structured = await ask({ ...base, output: Output.object({ schema: City }), prompt });
    assert.deepEqual(structured.output, { name: "Rome", degrees: 24 });

    const content = [
      { type: "text", text: script({ text: ["Red."] }) },
      { type: "file", data: PNG.split(",")[1], mediaType: "image/png" },
    ];
    const picture = await ask({ ...base, messages: [{ role: "user", content }] });
    assert.equal(picture.text, "Red.");

    const limited = { error: { message: "slow down", type: "t", code: "rate_limit_exceeded" } };
    await assert.rejects(ask({ ...base, prompt: script({ status: 429, body: limited }) }), (error) => {
      assert.ok(APICallError.isInstance(error), error);
      assert.equal(error.statusCode, 429);
      return true;
    });
  }
  // A stream that breaks says so.
  await assert.rejects(streamed({ ...base, prompt: script({ text: ["a ", "b ", "c "], cut: 2 }) }));
}
