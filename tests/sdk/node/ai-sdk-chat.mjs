// Uses Vercel's AI SDK over chat completions, as an OpenAI-compatible provider. Arguments: base URL, key.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

import { use } from "./ai-sdk.mjs";

const [baseURL, apiKey] = process.argv.slice(2);
const gateway = createOpenAICompatible({ name: "gateway", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });
await use(gateway("codex-5"));

console.log("all well");
