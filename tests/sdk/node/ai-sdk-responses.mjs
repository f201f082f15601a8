// Uses Vercel's AI SDK over responses, as its OpenAI provider. Arguments: base URL, key.

import { createOpenAI } from "@ai-sdk/openai";

import { use } from "./ai-sdk.mjs";

const [baseURL, apiKey] = process.argv.slice(2);
const gateway = createOpenAI({ baseURL, apiKey });
await use(gateway("codex-5"));

console.log("all well");
