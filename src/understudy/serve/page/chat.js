// The conversation: sending, streaming, stopping, editing, retrying; with a model, or with a character in a session.

import * as api from "/page/api.js";
import { announce, byId, growing, make } from "/page/dom.js";
import { Bubble } from "/page/messages.js";
import { showLedger, Speed } from "/page/meters.js";
import { chosenTools } from "/page/tools.js";

const bubbles = [];
let scene = null; // {id, name} of the session with a character
let running = null; // {controller, bubble} of the answer under way
let settings = () => ({});

export function setUpChat(readSettings) {
  settings = readSettings;
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
  byId("fresh").addEventListener("click", () => { clear(); area.focus(); });
  byId("leave").addEventListener("click", () => { endScene(); area.focus(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && running && !document.querySelector("dialog[open]")) stop(); });
  for (const text of ["What is a bridge?", "Tell me about the sea in three sentences.", "Write a short poem about rain."]) {
    byId("chips").append(make("button", { type: "button", onclick: () => running || say(text) }, text));
  }
}

/** Begins a scene with a character; what it says first is the first message. */
export function beginScene(session, place) {
  clear();
  scene = { id: session.id, name: session.name, place };
  byId("banner").hidden = false;
  byId("banner-name").textContent = session.name;
  byId("fresh").hidden = true;
  byId("welcome").hidden = true;
  for (const said of session.history) put({ role: said.role === "character" || said.role === "assistant" ? "assistant" : "user", content: said.text });
  byId("say").focus();
}

function endScene() {
  if (scene) api.ask(`/v1/sessions/${scene.id}`, { method: "DELETE" }).catch(() => {});
  scene = null;
  byId("banner").hidden = true;
  byId("fresh").hidden = false;
  clear();
}

function clear() {
  running?.controller.abort();
  cutFrom(0);
  showLedger(null);
  byId("welcome").hidden = false;
}

function put(turn) {
  const bubble = new Bubble(turn, turn.role === "user" ? "You" : turn.role === "tool" ? "Result" : scene?.name ?? "Model", []);
  bubbles.push(bubble);
  byId("messages").append(bubble.item);
  byId("welcome").hidden = true;
  follow(true);
  offerActions();
  return bubble;
}

/** Takes a message and all after it away. */
function cutFrom(index) {
  for (const bubble of bubbles.splice(index)) bubble.item.remove();
}

/** What was said to a character stays said; other messages can be changed while no answer is under way. */
function offerActions() {
  bubbles.forEach((bubble, i) => {
    const actions = [];
    const { role, content } = bubble.turn;
    if (content) actions.push(["Copy", () => navigator.clipboard?.writeText(content).then(() => announce("Copied"))]);
    if (!running && !scene && role === "user") actions.push(["Edit", () => bubble.edit((text) => { if (!running) { cutFrom(i); say(text); } })]);
    if (!running && !scene && role === "assistant" && i === bubbles.length - 1) actions.push(["Retry", () => { cutFrom(i); answer(); }]);
    bubble.offer(actions);
  });
}

function say(text) {
  put({ role: "user", content: text });
  answer(text);
}

function stop() {
  if (!running) return;
  if (scene) {
    const heard = [...running.bubble.turn.content].length;
    api.ask(`/v1/sessions/${scene.id}/interrupt`, { body: { heard_chars: heard } }).catch(() => running?.controller.abort());
  } else running.controller.abort();
}

/** One answer, from the model or from the character. */
async function answer(text) {
  const bubble = put({ role: "assistant", content: "", calls: [] });
  const mine = (running = { controller: new AbortController(), bubble });
  show(true);
  offerActions();
  bubble.item.classList.add("writing");
  const speed = new Speed();
  let rate = 0;
  announce("The answer begins.");
  try {
    rate = await (scene ? playTurn(bubble, speed, text) : chatTurn(bubble, speed));
    announce(bubble.turn.content || "The answer has no text.");
  } catch (error) {
    if (error.name === "AbortError") bubble.note("Stopped.");
    else bubble.note(error.message, "fault");
    if (error.name === "AbortError") announce("Stopped.");
  }
  bubble.growing.flush();
  bubble.item.classList.remove("writing");
  speed.finish(rate);
  if (running === mine) {
    running = null;
    show(false);
    offerActions();
    if (bubble.calls.length && bubbles.at(-1) === bubble) takeResults(bubble);
  }
  follow();
}

function show(isRunning) {
  const hadFocus = document.activeElement === byId("stop") || document.activeElement === byId("send");
  byId("send").hidden = isRunning;
  byId("stop").hidden = !isRunning;
  if (hadFocus) byId(isRunning ? "stop" : "say").focus();
}

async function chatTurn(bubble, speed) {
  let rate = 0;
  for await (const [, chunk] of api.stream("/v1/chat/completions", chatBody(), running.controller.signal)) {
    for (const { delta, finish_reason: reason } of chunk.choices) {
      if (delta.content) add(bubble, delta.content);
      for (const piece of delta.tool_calls ?? []) bubble.addCall(piece);
      if (delta.refusal) bubble.note(delta.refusal);
      if (reason === "content_filter") stopped(bubble);
      if (delta.content || delta.tool_calls) speed.piece();
      if (reason === "length") bubble.note("The longest answer that was allowed ended here.");
    }
    if (chunk.usage) showLedger(chunk.usage.context);
    rate = chunk.timings?.predicted_per_second ?? rate;
    follow();
  }
  return rate;
}

/** A guard stopped this exchange: it is shown, but never sent again. */
function stopped(bubble) {
  for (const one of bubbles.slice(bubbles.findLastIndex((b) => b.turn.role === "user"))) one.isStopped = true;
  announce("The guard stopped this.");
}

function chatBody() {
  const { model, system, temperature, maxTokens } = settings();
  const messages = system ? [{ role: "system", content: system }] : [];
  for (const { turn, calls, isStopped } of bubbles.slice(0, -1)) {
    if (isStopped) continue;
    if (turn.role === "assistant" && !turn.content && !calls.length) continue;
    const message = { role: turn.role, content: turn.content };
    if (turn.id) message.tool_call_id = turn.id;
    if (calls.length) message.tool_calls = calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }));
    messages.push(message);
  }
  const isAfterResult = bubbles.at(-2)?.turn.role === "tool"; // or a call that has to be made would be made for ever
  return { model, messages, temperature, max_tokens: maxTokens, stream: true, stream_options: { include_usage: true }, ...chosenTools(isAfterResult) };
}

async function playTurn(bubble, speed, text) {
  const begun = performance.now();
  const body = { text, scene: scene.place, stream: true };
  let rate = 0;
  for await (const [name, data] of api.stream(`/v1/sessions/${scene.id}/turn`, body, running.controller.signal)) {
    if (name === "say") {
      add(bubble, data.text);
      speed.piece();
    } else if (name === "turn") {
      endTurn(bubble, data);
      rate = ((data.usage.completion_tokens ?? 0) * 1000) / (performance.now() - begun);
    }
    follow();
  }
  return rate;
}

function endTurn(bubble, turn) {
  showLedger(turn.usage.context);
  const parts = turn.actions.map((action) => [action.name, action.target, ...Object.values(action.arguments)].filter(Boolean).join(" "));
  if (turn.emotion && turn.emotion !== "neutral") parts.unshift(turn.emotion);
  if (turn.interrupted) parts.push("cut off");
  if (parts.length) bubble.note(parts.join(" · "));
}

function add(bubble, text) {
  bubble.turn.content += text;
  bubble.add(text);
}

function takeResults(bubble) {
  bubble.askResults((results) => {
    if (running || bubbles.at(-1) !== bubble) return;
    results.forEach((content, i) => put({ role: "tool", content, id: bubble.calls[i].id }));
    byId("say").focus();
    answer();
  });
}

/** Stays at the end while the reader is there. */
function follow(always = false) {
  const scroll = byId("scroll");
  if (!always && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight > 160) return;
  requestAnimationFrame(() => { scroll.scrollTop = scroll.scrollHeight; });
}
