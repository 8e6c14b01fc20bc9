// Conversations as files: our own JSON (whole, with all variants), Markdown for people, SillyTavern's JSON Lines, OpenAI's messages.

import { add, choose, newConversation, path, variants } from "/page/conversation.js";

export const toJson = (conversation) => JSON.stringify(conversation, null, 1);

/** What is shown, as a document. */
export function toMarkdown(conversation, names) {
  const lines = [`# ${conversation.title || "Conversation"}`, ""];
  for (const { role, content, calls } of path(conversation)) {
    lines.push(`**${names[role] ?? role}**`, "", content || "", "");
    for (const call of calls ?? []) lines.push("```json", JSON.stringify({ name: call.name, arguments: call.arguments }), "```", "");
  }
  return lines.join("\n");
}

/** SillyTavern's file: a line about the chat, then a line a message; other answers are its swipes. */
export function toSillyTavern(conversation, names) {
  const lines = [{ user_name: names.user, character_name: names.assistant, create_date: new Date(conversation.created).toISOString(), chat_metadata: {} }];
  for (const node of path(conversation)) {
    const isUser = node.role === "user";
    const line = { name: isUser ? names.user : names.assistant, is_user: isUser, is_system: node.role === "tool", send_date: new Date(node.at).toISOString(), mes: node.content, extra: {} };
    const beside = variants(conversation, node);
    if (node.role === "assistant" && beside.length > 1) {
      line.swipes = beside.map((other) => other.content);
      line.swipe_id = beside.indexOf(node);
    }
    lines.push(line);
  }
  return lines.map((line) => JSON.stringify(line)).join("\n") + "\n";
}

/** The conversations of a file. Throws an Error that says what is wrong. */
export function fromFile(name, text) {
  const trimmed = text.replace(/^\ufeff/, "").trim();
  if (!trimmed) throw new Error("the file is empty");
  if (/\.jsonl$/i.test(name)) return [fromSillyTavern(name, trimmed)];
  let document;
  try {
    document = JSON.parse(trimmed);
  } catch {
    if (trimmed.includes("\n{")) return [fromSillyTavern(name, trimmed)];
    throw new Error("the file is no JSON");
  }
  return (Array.isArray(document) && !document[0]?.role ? document : [document]).map((one) => fromDocument(name, one));
}

function fromDocument(name, document) {
  if (document?.format === "understudy-conversation") return ours(document);
  const messages = Array.isArray(document) ? document : document?.messages;
  if (!Array.isArray(messages)) throw new Error("neither a conversation of this page nor a list of messages");
  const made = newConversation({ title: name.replace(/\.[^.]*$/, "") });
  for (const message of messages) {
    const content = Array.isArray(message.content) ? message.content.map((part) => part.text ?? "").join("") : message.content ?? "";
    if (message.role === "system" || message.role === "developer") made.settings.system = content;
    else add(made, { role: message.role, content: String(content), ...(message.tool_call_id && { callId: message.tool_call_id }), ...calls(message) });
  }
  return made;
}

const calls = (message) =>
  message.tool_calls?.length ? { calls: message.tool_calls.map((call) => ({ id: call.id, name: call.function?.name, arguments: call.function?.arguments ?? "{}" })) } : {};

/** Ours under a new name, so that it lies beside the one that it was exported from. Only what belongs to a conversation is taken over. */
function ours(document) {
  const { title, created, settings, scene, nodes, leaf, chosen } = document;
  if (typeof nodes !== "object" || nodes === null) throw new Error("the conversation holds no messages");
  const made = newConversation({ title: String(title ?? ""), created: Number(created) || Date.now(), settings: { ...settings }, scene: scene ?? null, leaf, chosen: { ...chosen } });
  for (const [id, node] of Object.entries(nodes)) {
    if (!["user", "assistant", "tool"].includes(node?.role) || typeof node.content !== "string") throw new Error(`message ${id} has no role or no text`);
    made.nodes[id] = { ...node, id };
  }
  for (const node of Object.values(made.nodes)) if (node.parent !== null && !made.nodes[node.parent]) node.parent = null;
  if (!made.nodes[made.leaf]) made.leaf = Object.keys(made.nodes).at(-1) ?? null;
  return made;
}

function fromSillyTavern(name, text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim()).map((line, i) => {
    try {
      return JSON.parse(line);
    } catch {
      throw new Error(`line ${i + 1} is no JSON`);
    }
  });
  const head = "mes" in lines[0] ? {} : lines.shift();
  const made = newConversation({ title: [head.character_name, name.replace(/\.[^.]*$/, "")].filter(Boolean).join(", ") });
  for (const line of lines) {
    const role = line.is_user ? "user" : "assistant", parent = made.leaf;
    const texts = Array.isArray(line.swipes) && line.swipes.length && !line.is_user ? line.swipes : [line.mes];
    const nodes = texts.map((content) => add(made, { role, content: String(content ?? ""), at: Date.parse(line.send_date) || Date.now() }, parent));
    choose(made, nodes[line.swipe_id] ?? nodes.find((node) => node.content === line.mes) ?? nodes[0]);
  }
  return made;
}
