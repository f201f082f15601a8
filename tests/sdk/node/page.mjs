// In a page of another origin: the OpenAI SDK and LangChain.js ask a gateway, and a page that may not is kept out.

import { ChatOpenAICompletions, ChatOpenAIResponses } from "@langchain/openai";
import OpenAI from "openai";

const model = "codex-5";
const messages = [{ role: "user", content: '{"demo": {"deltas": 3, "text": "x "}}' }];

window.ask = async (baseURL, apiKey) => {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, dangerouslyAllowBrowser: true });
  const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
  const headers = Object.fromEntries(response.headers);

  const streamed = [];
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    streamed.push(chunk.choices[0].delta.content ?? "");
  }
  const responded = await client.responses.create({ model, input: messages });
  await client.responses.delete(responded.id);

  const stranger = new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0, dangerouslyAllowBrowser: true });
  const refused = await stranger.models.retrieve("none").catch((error) => error);

  const spoken = [];
  // `ChatOpenAI` with `useResponsesApi: false` would still use responses for a model with `codex` in its name.
  for (const ChatModel of [ChatOpenAICompletions, ChatOpenAIResponses]) {
    const configuration = { baseURL, dangerouslyAllowBrowser: true };
    const langchain = new ChatModel({ model, apiKey, configuration, maxRetries: 0 });
    spoken.push((await langchain.invoke(messages[0].content)).text);
    const pieces = [];
    for await (const piece of await langchain.stream(messages[0].content)) {
      pieces.push(piece.text);
    }
    spoken.push(pieces.join(""));
  }
  return {
    whole: data.choices[0].message.content,
    streamed: streamed.join(""),
    responded: responded.output_text,
    spoken,
    headers,
    refused: { status: refused.status, requestID: refused.requestID, code: refused.code },
    models: (await client.models.list()).data.length,
  };
};

/** What a page sees of a gateway that does not name its origin: nothing. */
window.knock = async (baseURL, apiKey) => {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, dangerouslyAllowBrowser: true });
  return client.chat.completions.create({ model, messages }).then(
    () => "answered",
    (error) => (error instanceof OpenAI.APIConnectionError ? "kept out" : String(error)),
  );
};
