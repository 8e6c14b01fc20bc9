// The official JavaScript SDKs and the AI SDK's providers: `node client.mjs NAME URL MODEL` prints what each everyday
// thing gave. Lies beside the installed packages, so that their names are found.
const ASK = [{ role: "user", content: "Say hello." }];
const PARIS = [{ role: "user", content: "What is the weather in Paris?" }];
const PARAMETERS = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const LONG = "word ".repeat(6000);

async function openai(url, model) {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
  const ask = (more) =>
    client.chat.completions.create({ model, messages: ASK, max_tokens: 16, temperature: 0, ...more });
  const tool = { type: "function", function: { name: "weather", parameters: PARAMETERS } };
  return {
    plain: async () => (await ask()).choices[0].message.content,
    stream: async () => {
      let text = "";
      for await (const chunk of await ask({ stream: true })) text += chunk.choices[0]?.delta.content ?? "";
      return text;
    },
    tools: async () => {
      const first = await ask({ messages: PARIS, tools: [tool], tool_choice: "required", max_tokens: 64 });
      const message = first.choices[0].message;
      const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" };
      const last = await ask({ messages: [...PARIS, message, result], tools: [tool] });
      return `${message.tool_calls[0].function.name} ${last.choices[0].message.role}`;
    },
    structured: async () => {
      const form = { type: "json_schema", json_schema: { name: "x", strict: true, schema: PARAMETERS } };
      return typeof JSON.parse((await ask({ response_format: form, max_tokens: 64 })).choices[0].message.content).city;
    },
    wrong_model: () => ask({ model: "no-such-model" }),
    too_long: () => ask({ messages: [{ role: "user", content: LONG }] }),
    cancel: async () => {
      const stream = await ask({ stream: true, max_tokens: 2000 });
      for await (const _ of stream) break;
      stream.controller.abort();
      return "left";
    },
  };
}

async function anthropic(url, model) {
  const { default: Anthropic } = await import("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
  const ask = (more) => client.messages.create({ model, messages: ASK, max_tokens: 16, ...more });
  const tool = { name: "weather", input_schema: PARAMETERS };
  return {
    plain: async () => (await ask()).content[0].text,
    stream: async () => (await client.messages.stream({ model, messages: ASK, max_tokens: 16 }).finalMessage()).content[0].text,
    tools: async () => {
      const first = await ask({ messages: PARIS, tools: [tool], tool_choice: { type: "any" }, max_tokens: 64 });
      const call = first.content.find((block) => block.type === "tool_use");
      const result = { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] };
      const last = await ask({ messages: [...PARIS, { role: "assistant", content: first.content }, result], tools: [tool] });
      return `${call.name} ${last.role}`;
    },
    wrong_model: () => ask({ model: "no-such-model" }),
    too_long: () => ask({ messages: [{ role: "user", content: LONG }] }),
    cancel: async () => {
      const stream = client.messages.stream({ model, messages: ASK, max_tokens: 2000 });
      for await (const _ of stream) break;
      stream.abort();
      return "left";
    },
  };
}

async function aiSdk(url, model) {
  const { generateText, streamText, generateObject, tool } = await import("ai");
  const { createOpenAI } = await import("@ai-sdk/openai");
  const { createAnthropic } = await import("@ai-sdk/anthropic");
  const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
  const { z } = await import("zod");
  const open = createOpenAI({ baseURL: url + "/v1", apiKey: "none" });
  const compatible = createOpenAICompatible({ name: "u", baseURL: url + "/v1", supportsStructuredOutputs: true });
  const makers = {
    compatible: (name) => compatible(name),
    chat: (name) => open.chat(name),
    responses: (name) => open(name),
    anthropic: (name) => createAnthropic({ baseURL: url + "/v1", apiKey: "none" })(name),
  };
  const all = async (run) => {
    const made = {};
    for (const [name, make] of Object.entries(makers)) {
      made[name] = await run(make).catch((error) => `${error.name}: ${String(error.message).slice(0, 200)}`);
    }
    return JSON.stringify(made);
  };
  const settings = { maxRetries: 0, maxOutputTokens: 32 };
  const weather = tool({
    description: "The weather of a city.",
    inputSchema: z.object({
      city: z.string(),
      near: z.record(z.string(), z.number()).optional(),
      at: z.tuple([z.number(), z.number()]).optional(),
    }),
    execute: async () => "sunny",
  });
  return {
    plain: () => all(async (make) => (await generateText({ ...settings, model: make(model), prompt: "Say hello." })).text.length > 0),
    stream: () => all(async (make) => {
      let text = "";
      const { textStream } = streamText({ ...settings, model: make(model), prompt: "Say hello." });
      for await (const piece of textStream) text += piece;
      return text.length > 0;
    }),
    tools: () => all(async (make) => {
      const first = await generateText({
        ...settings, model: make(model), messages: PARIS, tools: { weather }, toolChoice: "required", maxOutputTokens: 400, temperature: 0,
      });
      const talk = [...PARIS, ...first.response.messages, ...ASK];
      await generateText({ ...settings, model: make(model), messages: talk, tools: { weather } });
      return first.toolCalls[0]?.toolName;
    }),
    structured: () => all(async (make) => {
      const schema = z.object({ name: z.string(), people: z.number().int() });
      const made = await generateObject({ ...settings, model: make(model), schema, prompt: "A town.", maxOutputTokens: 200, temperature: 0 });
      return typeof made.object.name;
    }),
    // the second turn of a talk: the default provider names earlier answers by their ids
    more: () => all(async (make) => {
      const first = await generateText({ maxRetries: 0, model: make(model), messages: ASK, stopSequences: ["e", "a", "!"] });
      const second = await generateText({ ...settings, model: make(model), messages: [...ASK, ...first.response.messages, ...ASK] });
      return second.text.length > 0;
    }),
    wrong_model: () => all((make) => generateText({ ...settings, model: make("no-such-model"), prompt: "Hi" })),
  };
}

const [, , name, url, model] = process.argv;
const results = {};
for (const [thing, run] of Object.entries(await { openai, anthropic, aiSdk }[name](url, model))) {
  try {
    results[thing] = String(await run());
  } catch (error) {
    results[thing] = `${error.constructor.name}: ${String(error.message).slice(0, 300)}`;
  }
}
console.log(JSON.stringify(results));
process.exit(0);
