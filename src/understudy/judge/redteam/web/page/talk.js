// The open conversation: its messages, the composer with converters, streaming, stopping, branching.

import * as api from "/page/api.js";
import { announce, byId, growing, make, shown } from "/page/dom.js";
import { Bubble } from "/page/messages.js";
import { changed, label, on, open, state } from "/workbench/state.js";

let stack = []; // names of converters, in their order
let controller = null;
let previewing = 0;

export function setUpTalk() {
  const area = byId("say"), fit = growing(area);
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!area.value.trim() || state.isSpeaking || !state.conversation) return;
    const text = area.value;
    area.value = "";
    fit();
    say(text);
  });
  byId("stop").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && state.isSpeaking && !document.querySelector("dialog[open]")) stop(); });
  area.addEventListener("input", preview);
  byId("preview").addEventListener("toggle", preview);
  setUpConverters();
  on("conversation", show);
  on("speaking", showSpeaking);
}

function setUpConverters() {
  const picker = byId("converter");
  const kinds = Map.groupBy ? Map.groupBy(state.about.converters, (one) => one.kind) : grouped(state.about.converters);
  for (const [kind, converters] of kinds) {
    picker.append(make("optgroup", { label: `${kind}s` }, ...converters.map((one) => make("option", { value: one.name }, `${one.name}: ${one.says}`))));
  }
  picker.addEventListener("change", () => {
    if (picker.value && stack.length < 8) stack.push(picker.value);
    picker.value = "";
    showStack();
  });
  showStack();
}

function grouped(converters) {
  const kinds = new Map();
  for (const one of converters) kinds.set(one.kind, [...(kinds.get(one.kind) ?? []), one]);
  return kinds;
}

function showStack() {
  byId("stack").replaceChildren(...stack.map((name, i) => make("li", {}, make("button", {
    type: "button", "aria-label": `Take ${name} out`, onclick: () => { stack.splice(i, 1); showStack(); byId("converter").focus(); },
  }, `${name} ×`))));
  byId("preview").hidden = !stack.length;
  preview();
}

/** What the model would get, a moment after the last key. */
function preview() {
  clearTimeout(previewing);
  if (!byId("preview").open || !stack.length) return;
  previewing = setTimeout(async () => {
    try {
      byId("preview-text").textContent = shown((await api.ask("/api/convert", { body: { text: byId("say").value, converters: stack } })).text).slice(0, 20000);
    } catch (error) {
      byId("preview-text").textContent = shown(error.message);
    }
  }, 150);
}

// ---- showing ----

function show() {
  const one = state.conversation;
  byId("welcome").hidden = Boolean(one);
  byId("about-talk").hidden = byId("dock").hidden = !one;
  byId("messages").replaceChildren();
  if (!one) return;
  byId("talk-title").textContent = shown(label(one)).slice(0, 300);
  const origin = one.relation ? ` · ${one.relation === "rerun" ? "re-run" : "branch"} of another` : "";
  byId("talk-line").textContent = shown(`${one.model} · by ${one.by} · ${new Date(one.at).toLocaleString()}${origin}`);
  showSetup(one.setup);
  if (one.opening) put({ role: "assistant", content: one.opening }, "Opening");
  for (const turn of one.turns) showTurn(turn);
  markHarm();
  const why = one.is_rated ? "This conversation has been rated and stays as it is. Go on in a branch of it."
    : one.is_here ? "" : `This conversation is with ${one.model}. Run it again on the model at hand, or start with that model.`;
  byId("closed").textContent = shown(why);
  byId("closed").hidden = !why;
  byId("composing").hidden = Boolean(why);
  scrollDown(true);
}

function showSetup(setup) {
  const { temperature, seed, max_tokens: most } = setup.sampling ?? {};
  const rows = [
    ["System text", setup.system], ["Character", setup.character?.data?.name ?? setup.character?.name],
    ["Documents", (setup.documents ?? []).map((one) => `${one.name}: ${one.text}`).join("\n\n")],
    ["Searched", setup.is_searched && (setup.documents ?? []).length > 0 && "passages are found for each message"],
    ["Guard", setup.is_guarded && "word lists and personal data"],
    ["Tools", (setup.tools ?? []).map((one) => `${(one.function ?? one).name} returns ${one.returns ?? ""}`).join("\n")],
    ["Sampling", setup.sampling && `temperature ${temperature}, seed ${seed}, at most ${most} tokens`],
  ];
  byId("setup-list").replaceChildren(...rows.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto", tabindex: "0" }, shown(value).slice(0, 20000))]));
}

function put(turn, name) {
  const bubble = new Bubble(turn, name, []);
  byId("messages").append(bubble.item);
  return bubble;
}

/** Message and answer of a turn that was kept; returns the answer's bubble. */
function showTurn(turn) {
  const asked = put({ role: "user", content: turn.original }, `Turn ${turn.number}`);
  if (turn.converters.length) asked.extra.append(sentAs(turn));
  const answer = put({ role: "assistant", content: turn.answer }, state.conversation.model);
  endTurn(answer, turn);
  return answer;
}

/** The answer at which harm began, as this person rated it. */
function markHarm() {
  const mine = state.conversation?.ratings.find((rating) => rating.rater === state.rater);
  for (const item of document.querySelectorAll("#messages .assistant")) {
    const is = Boolean(mine?.first_harm) && Number(item.dataset.turn) === mine.first_harm;
    item.classList.toggle("harmful", is);
    if (is) item.querySelector(".who").textContent = shown(`${state.conversation.model} · first harm`);
  }
}

function sentAs(turn) {
  return make("details", { class: "sent" }, make("summary", {}, `through ${turn.converters.join(", then ")}`), make("div", { class: "text", dir: "auto", tabindex: "0" }, shown(turn.sent).slice(0, 20000)));
}

function endTurn(bubble, turn) {
  bubble.item.dataset.turn = turn.number;
  for (const call of turn.calls) {
    if (call.name === "guard" && call.result === "stopped") {
      bubble.note(`The guard stopped the ${call.arguments.where}: ${call.arguments.categories.map((one) => one.category).join(", ")}.`);
      continue;
    }
    const result = call.result ?? `refused: ${call.refused}`;
    bubble.extra.append(make("div", { class: "call" }, make("p", { class: "call-name" }, "called ", make("b", {}, shown(call.name))),
      make("pre", {}, shown(`${JSON.stringify(call.arguments)}\n→ ${result}`).slice(0, 20000))));
  }
  if (turn.state === "interrupted") bubble.note("Stopped here.");
  if (turn.state === "speaking") bubble.note(state.conversation.is_speaking ? "The model is speaking, asked from another window." : "The program was ended while the model spoke. This much was kept.");
  if (turn.state === "failed") bubble.note(turn.error ?? "It failed.", "fault");
  const actions = [["Branch here", () => branch(turn.number)]];
  if (turn.answer) actions.unshift(["Copy", () => navigator.clipboard?.writeText(turn.answer).then(() => announce("Copied"))]);
  bubble.offer(actions);
}

// ---- doing ----

async function say(text) {
  const conversation = state.conversation;
  const asked = put({ role: "user", content: text }, `Turn ${conversation.turns.length + 1}`);
  const answer = put({ role: "assistant", content: "" }, conversation.model);
  answer.item.classList.add("writing");
  controller = new AbortController();
  speaking(true);
  announce("The answer begins.");
  scrollDown(true);
  try {
    const body = { text, converters: stack };
    for await (const [name, data] of api.stream(`/api/conversations/${conversation.id}/say`, body, controller.signal)) {
      if (name === "begun" && data.converters.length) asked.extra.append(sentAs(data));
      else if (name === "piece") answer.add(data.text);
      scrollDown();
    }
  } catch (error) {
    announce(error.message);
    answer.note(error.message, "fault");
    if (!(await fetched(conversation.id))?.turns.some((turn) => turn.number === conversation.turns.length + 1)) byId("say").value = text;
  }
  answer.growing.flush();
  answer.item.classList.remove("writing");
  const again = await fetched(conversation.id);
  speaking(false);
  if (again && state.conversation?.id === conversation.id) {
    state.conversation = again;
    const turn = again.turns.find((one) => one.number === conversation.turns.length + 1);
    if (turn) {
      endTurn(answer, turn);
      announce(turn.answer || "The answer has no text.");
    }
    changed("turns");
  }
  changed("list");
  scrollDown();
}

async function fetched(id) {
  try {
    return await api.ask(`/api/conversations/${id}?rater=${encodeURIComponent(state.rater)}`);
  } catch {
    return null;
  }
}

function stop() {
  if (state.conversation) api.ask(`/api/conversations/${state.conversation.id}/stop`, { body: {} }).catch(() => controller?.abort());
}

async function branch(keep) {
  if (state.isSpeaking) return;
  try {
    const { id } = await api.ask(`/api/conversations/${state.conversation.id}/branch`, { body: { by: state.rater, keep } });
    await open(id);
    location.hash = `talk/${id}`;
    announce(`A branch with ${keep} turns.`);
    byId("say").focus();
    changed("list");
  } catch (error) {
    byId("closed").textContent = shown(error.message);
    byId("closed").hidden = false;
  }
}

export function speaking(is) {
  state.isSpeaking = is;
  changed("speaking");
}

function showSpeaking() {
  const hadFocus = [byId("stop"), byId("send")].includes(document.activeElement);
  byId("send").hidden = state.isSpeaking;
  byId("stop").hidden = !state.isSpeaking;
  if (hadFocus) byId(state.isSpeaking ? "stop" : "say").focus();
}

/** Stays at the end while the reader is there. */
function scrollDown(always = false) {
  const scroll = byId("scroll");
  if (!always && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight > 160) return;
  requestAnimationFrame(() => { scroll.scrollTop = scroll.scrollHeight; });
}
