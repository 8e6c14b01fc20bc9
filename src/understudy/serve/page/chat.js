// The conversation that is open: saying, streaming, stopping, editing, other answers, branches; with a model or a character.

import * as api from "/page/api.js";
import { add, branch, choose, newConversation, path, remove, touch, variants } from "/page/conversation.js";
import { announce, byId, growing } from "/page/dom.js";
import { t } from "/page/language.js";
import { Bubble } from "/page/messages.js";
import { showLedger, Speed } from "/page/meters.js";
import { readSettings, showSettings } from "/page/panel.js";
import { close, sessionAt } from "/page/scene.js";
import { store } from "/page/store.js";
import { chosenTools, schemaOf } from "/page/tools.js";

let conversation = newConversation();
let running = null; // {controller, bubble} of the answer under way
let onChange = () => {};
let currentModel = () => undefined;
const OPEN = "understudy-open"; // where this tab holds which conversation is open
const bubbles = new Map(); // message id -> its bubble, kept while the conversation is open

export const current = () => conversation;

export function setUpChat(model, changed) {
  currentModel = model;
  onChange = changed;
  const area = byId("say"), fit = growing(area);
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = area.value.trim();
    if (!text || running) return;
    area.value = "";
    fit();
    say(text);
  });
  byId("stop").addEventListener("click", stop);
  byId("fresh").addEventListener("click", () => { fresh(); area.focus(); });
  byId("leave").addEventListener("click", () => { endScene(); area.focus(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && running && !document.querySelector("dialog[open]")) stop(); });
  for (const chip of byId("chips").children) chip.addEventListener("click", () => running || say(chip.textContent));
}

/** Opens a conversation that was kept, or that a file held. */
export function open(found) {
  leave();
  conversation = found;
  remember(found);
  bubbles.clear();
  showSettings(found.settings);
  showLedger(null);
  show(true);
}

const remember = ({ id, nodes }) => { Object.keys(nodes).length ? sessionStorage.setItem(OPEN, id) : sessionStorage.removeItem(OPEN); };

/** After a reload: the conversation that this tab had open, where it is still kept. */
export async function reopen() {
  const id = sessionStorage.getItem(OPEN);
  const kept = id && await store().get(id).catch(() => null);
  if (kept) open(kept);
}

/** A conversation without a word. */
export function fresh() {
  open(newConversation({ settings: readSettings() }));
  onChange();
}

/** Begins a scene; what the character says first is the first message. */
export function beginScene(scene, history) {
  open(newConversation({ settings: readSettings(), scene, title: scene.name }));
  for (const said of history) add(conversation, { role: said.role === "user" ? "user" : "assistant", content: said.text });
  scene.at = conversation.leaf;
  keep();
  show(true);
  byId("say").focus();
}

function endScene() {
  close(conversation.scene);
  fresh();
}

/** What is under way belongs to the conversation that is left. */
function leave() {
  running?.controller.abort();
  running = null;
  showRunning(false);
}

async function keep(kept = conversation) {
  if (!Object.keys(kept.nodes).length) return;
  try {
    await store().put(kept);
    if (kept === conversation) remember(kept);
  } catch (error) {
    if (kept === conversation) announce(t("This conversation could not be kept: {why}", { why: error.message }));
  }
  onChange(kept);
}

// ---- what is shown ----

function nameOf({ role }) {
  return role === "user" ? conversation.scene?.user ?? t("You") : role === "tool" ? t("Result") : conversation.scene?.name ?? t("Model");
}

/** Shows the path to the leaf; an answer under way stands behind it. */
function show(isNew = false) {
  const { scene } = conversation;
  byId("banner").hidden = !scene;
  byId("banner-name").textContent = scene?.name ?? "";
  const shownNodes = path(conversation);
  const items = shownNodes.map((node) => {
    if (!bubbles.has(node.id)) bubbles.set(node.id, new Bubble(node, nameOf(node)));
    return bubbles.get(node.id).item;
  });
  if (running) items.push(running.bubble.item);
  const list = byId("messages");
  for (const item of [...list.children]) if (!items.includes(item)) item.remove();
  items.forEach((item, i) => { if (list.children[i] !== item) list.insertBefore(item, list.children[i] ?? null); });
  byId("welcome").hidden = items.length > 0;
  shownNodes.forEach((node, i) => offer(node, i === shownNodes.length - 1));
  follow(isNew);
}

function offer(node, isLast) {
  const bubble = bubbles.get(node.id), actions = [], { role, content } = node;
  if (content) actions.push([t("Copy"), () => navigator.clipboard?.writeText(content).then(() => announce(t("Copied")))]);
  if (running) return bubble.offer(actions);
  if (role === "user") actions.push([t("Edit"), () => bubble.edit((text) => { if (!running) edited(node, text); })]);
  if (role === "assistant" && isLast) {
    actions.push([t("Retry"), () => again(node)]);
    if (content && !conversation.scene && !node.calls?.length) actions.push([t("Continue"), () => answer(node)]);
  }
  if (role === "assistant" && content) actions.push([t("Edit"), () => bubble.edit((text) => rewritten(node, text))]);
  actions.push([t("Branch"), () => branched(node)]);
  actions.push([t("Remove"), () => removed(node)]);
  const all = variants(conversation, node);
  bubble.offer(actions, { all, at: all.indexOf(node), turn: (other) => { choose(conversation, other); keep(); show(); } });
}

function edited(node, text) {
  conversation.leaf = node.parent;
  say(text);
}

/** The text of an answer as the reader wants it; what follows is answered to that. */
function rewritten(node, content) {
  const { id, calls, notes, ...rest } = node;
  add(conversation, { ...rest, content }, node.parent);
  keep();
  show();
}

function again(node) {
  conversation.leaf = node.parent;
  show();
  answer();
}

function branched(node) {
  const made = branch(conversation, node);
  open(made);
  keep(made);
  announce(t("A conversation of its own begins here."));
}

function removed(node) {
  remove(conversation, node);
  keep();
  show();
}

/** Stays at the end while the reader is there. */
function follow(always = false) {
  const scroll = byId("scroll");
  if (!always && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight > 160) return;
  requestAnimationFrame(() => { scroll.scrollTop = scroll.scrollHeight; });
}

function showRunning(isRunning) {
  const hadFocus = document.activeElement === byId("stop") || document.activeElement === byId("send");
  byId("send").hidden = isRunning;
  byId("stop").hidden = !isRunning;
  if (hadFocus) byId(isRunning ? "stop" : "say").focus();
}

// ---- saying and answering ----

function say(content) {
  conversation.settings = readSettings();
  add(conversation, { role: "user", content });
  keep();
  show(true);
  answer();
}

function stop() {
  if (!running) return;
  const { scene } = conversation;
  if (scene?.session) {
    const heard = [...running.message.content].length;
    api.ask(`/v1/sessions/${scene.session}/interrupt`, { body: { heard_chars: heard } }).catch(() => running?.controller.abort());
  } else running.controller.abort();
}

/** One answer behind the leaf; with `begun`, that message goes on. */
async function answer(begun = null) {
  const mine = conversation, parent = begun ? begun.parent : mine.leaf;
  const message = begun ?? { role: "assistant", content: "", calls: [], notes: [] };
  const bubble = begun ? bubbles.get(begun.id) : new Bubble(message, nameOf(message));
  running = { controller: new AbortController(), bubble, message };
  const own = running, speed = new Speed();
  showRunning(true);
  show(true);
  bubble.offer([]);
  bubble.item.classList.add("writing");
  announce(t("The answer begins."));
  let rate = 0;
  try {
    rate = await (mine.scene ? playTurn(own, speed, parent) : chatTurn(own, speed, begun));
    announce(message.content || t("The answer has no text."));
  } catch (error) {
    if (error.name === "AbortError") announce(t("Stopped."));
    noted(own, error.name === "AbortError" ? t("Stopped.") : error.message, error.name === "AbortError" ? "note" : "fault");
  }
  bubble.finish();
  bubble.item.classList.remove("writing");
  speed.finish(rate);
  finish(mine, own, parent, begun);
}

/** The answer takes its place in the conversation that it was asked in. */
function finish(mine, own, parent, begun) {
  const { bubble, message } = own;
  message.calls = bubble.asked;
  if (begun) touch(mine);
  else {
    const node = add(mine, message, parent);
    bubble.message = node;
    if (mine === conversation) bubbles.set(node.id, bubble);
  }
  if (mine.scene) mine.scene.at = mine.leaf;
  keep(mine);
  if (running !== own) return;
  running = null;
  showRunning(false);
  show();
  const calls = bubble.calls.length && path(conversation).at(-1)?.id === bubble.message.id;
  if (calls) takeResults(bubble);
}

function noted(own, text, kind = "note") {
  own.message.notes ??= [];
  own.message.notes.push([text, kind]);
  own.bubble.note(text, kind);
}

async function chatTurn(own, speed, begun) {
  let rate = 0;
  for await (const [, chunk] of api.stream("/v1/chat/completions", chatBody(begun), own.controller.signal)) {
    for (const { delta, finish_reason: reason } of chunk.choices) {
      if (delta.reasoning_content) think(own, delta.reasoning_content);
      if (delta.content) heard(own, delta.content);
      for (const piece of delta.tool_calls ?? []) own.bubble.addCall(piece);
      if (delta.refusal) noted(own, delta.refusal);
      if (reason === "content_filter") stopped(own);
      if (delta.content || delta.tool_calls || delta.reasoning_content) speed.piece();
      if (reason === "length") noted(own, t("The longest answer that was allowed ended here."));
    }
    if (chunk.usage) showLedger(chunk.usage.context);
    rate = chunk.timings?.predicted_per_second ?? rate;
    follow();
  }
  return rate;
}

/** A guard stopped this exchange: it is shown, but never sent again. */
function stopped(own) {
  own.message.isStopped = true;
  for (const node of path(conversation).slice(path(conversation).findLastIndex(({ role }) => role === "user"))) node.isStopped = true;
  announce(t("The guard stopped this."));
}

function chatBody(begun) {
  const { system, ...sampling } = readSettings();
  const messages = system ? [{ role: "system", content: system }] : [];
  const said = path(conversation);
  for (const { role, content, calls, callId, isStopped } of said) {
    if (isStopped || (role === "assistant" && !content && !calls?.length)) continue;
    const message = { role, content };
    if (callId) message.tool_call_id = callId;
    if (calls?.length) message.tool_calls = calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }));
    messages.push(message);
  }
  const isAfterResult = said.at(-1)?.role === "tool"; // or a call that has to be made would be made for ever
  const tools = begun ? {} : chosenTools(isAfterResult);
  return { model: currentModel(), messages, ...sampling, stream: true, stream_options: { include_usage: true }, ...tools };
}

async function playTurn(own, speed, parent) {
  const node = conversation.nodes[parent], scene = conversation.scene, begun = performance.now();
  const session = await sessionAt(conversation, node.parent, currentModel());
  const body = { text: node.content, scene: scene.place ?? "", stream: true };
  let rate = 0;
  for await (const [name, data] of api.stream(`/v1/sessions/${session}/turn`, body, own.controller.signal)) {
    if (name === "say") {
      heard(own, data.text);
      speed.piece();
    } else if (name === "turn") {
      endTurn(own, data);
      rate = ((data.usage.completion_tokens ?? 0) * 1000) / (performance.now() - begun);
    }
    follow();
  }
  return rate;
}

function endTurn(own, turn) {
  showLedger(turn.usage.context);
  const parts = turn.actions.map((action) => [action.name, action.target, ...Object.values(action.arguments)].filter(Boolean).join(" "));
  if (turn.emotion && turn.emotion !== "neutral") parts.unshift(turn.emotion);
  if (turn.interrupted) parts.push(t("cut off"));
  if (parts.length) noted(own, parts.join(" · "));
  for (const fact of turn.memory) noted(own, t("will remember: {fact}", { fact }));
  for (const entry of turn.lore ?? []) noted(own, t("lore: {name} ({why})", { name: entry.name, why: entry.why }));
}

function heard(own, text) {
  own.message.content += text;
  own.bubble.add(text);
}

function think(own, text) {
  own.message.reasoning = (own.message.reasoning ?? "") + text;
  own.bubble.think(text);
}

function takeResults(bubble) {
  const mine = conversation;
  bubble.askResults(schemaOf, (results) => {
    if (running || mine !== conversation) return;
    const node = bubble.message;
    node.calls = bubble.asked;
    results.forEach((content, i) => add(conversation, { role: "tool", content, callId: node.calls[i].id }));
    keep();
    byId("say").focus();
    answer();
  });
}
