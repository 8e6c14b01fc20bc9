// The right side: one's own rating, others' once it is given, what became of the finding, and running it again.

import * as api from "/page/api.js";
import { announce, byId, make, shown } from "/page/dom.js";
import { changed, on, open, state } from "/workbench/state.js";
import { speaking } from "/workbench/talk.js";

export function setUpJudge() {
  const { severities, categories, statuses } = state.about;
  byId("severities").append(...Object.entries(severities).map(([name, meaning]) => make("label", { class: "severity", "data-severity": name },
    make("input", { type: "radio", name: "severity", value: name, required: true }), make("span", { class: "dot", "aria-hidden": "true" }), make("b", {}, name), make("small", {}, meaning))));
  byId("severities").addEventListener("change", showHarm);
  byId("category").append(make("option", { value: "" }, "Choose …"), ...categories.map((one) => make("option", { value: one.name }, one.name)));
  byId("category").addEventListener("change", showHint);
  byId("fix-status").append(...Object.keys(statuses).map((name) => make("option", { value: name }, name)));
  byId("fix-status").addEventListener("change", showFixHint);
  byId("rating").addEventListener("submit", rate);
  byId("fix").addEventListener("submit", fix);
  byId("rerun").addEventListener("click", rerun);
  for (const name of ["conversation", "turns", "speaking"]) on(name, show);
}

const severity = () => document.querySelector('input[name="severity"]:checked')?.value;

function showHarm() {
  byId("harm").hidden = !severity() || severity() === "none";
}

function showHint() {
  const one = state.about.categories.find(({ name }) => name === byId("category").value);
  byId("category-hint").textContent = one ? `In AEGIS 1.0: ${one.aegis_1}${one.is_critical ? "" : ", none of the 13 critical risks"}` : "";
}

function showFixHint() {
  byId("fix-hint").textContent = state.about.statuses[byId("fix-status").value] ?? "";
  byId("fix-rerun-field").hidden = byId("fix-status").value !== "verified";
}

function show() {
  const one = state.conversation, mine = one?.ratings.find((rating) => rating.rater === state.rater);
  const hasTurns = Boolean(one?.turns.length) && !state.isSpeaking;
  byId("judge-empty").hidden = hasTurns;
  byId("rating").hidden = byId("again").hidden = !hasTurns;
  byId("given").hidden = !hasTurns || !one.ratings.length;
  byId("fix").hidden = !hasTurns || !one.ratings.some((rating) => rating.severity !== "none");
  if (!hasTurns) return;
  fill(mine, one);
  byId("given-list").replaceChildren(...one.ratings.map(given));
  fillFix(one);
  byId("children").replaceChildren(...one.children.map((child) => make("li", {}, make("a", { href: `#talk/${child.id}` }, shown(`${child.relation === "rerun" ? "re-run" : "branch"} on ${child.model}, by ${child.by}`)))));
  byId("rerun").disabled = state.isSpeaking;
}

/** Puts one's own rating into the form, once for each conversation and rating: what is being written stays. */
function fill(mine, one) {
  const key = `${one.id} ${mine?.id} ${one.turns.length} ${state.rater}`;
  if (byId("rating").dataset.key === key) return;
  byId("rating").dataset.key = key;
  byId("first-harm").replaceChildren(...one.turns.map((turn) => make("option", { value: turn.number }, shown(`turn ${turn.number}: ${turn.answer}`).slice(0, 60))));
  for (const input of document.querySelectorAll('input[name="severity"]')) input.checked = input.value === mine?.severity;
  byId("category").value = mine && mine.category !== "Safe" ? mine.category : "";
  byId("first-harm").value = mine?.first_harm ?? one.turns.at(-1).number;
  byId("note").value = mine?.note ?? "";
  byId("rate").textContent = mine ? "Rate anew" : "Rate";
  byId("rating-status").textContent = mine || state.about.is_open ? "" : "You will see what others gave after you have rated.";
  showHarm();
  showHint();
}

function given(rating) {
  const where = rating.first_harm ? `, from turn ${rating.first_harm} on` : "";
  const row = make("li", {}, make("b", {}, shown(rating.rater)), " ", make("span", { class: "tag", "data-severity": rating.severity }, rating.severity));
  const line = rating.severity === "none" ? "" : `${rating.category}${where}`;
  row.append(make("p", { class: "small" }, shown([line, rating.note, rating.is_blind ? "" : "not blind"].filter(Boolean).join(" · "))));
  return row;
}

function fillFix(one) {
  const now = one.fix, reruns = one.children.filter((child) => child.relation === "rerun");
  byId("fix-rerun").replaceChildren(...reruns.map((child) => make("option", { value: child.id }, shown(`on ${child.model}, by ${child.by}`))));
  byId("fix-now").replaceChildren(now ? shown(`${now.status}, by ${now.by}${now.is_embargoed ? ", under embargo" : ""}. `) : "Open: nobody has said more.");
  if (now && /^https?:/i.test(now.link)) byId("fix-now").append(make("a", { href: now.link, rel: "noreferrer noopener", target: "_blank" }, shown(now.link)));
  else if (now?.link) byId("fix-now").append(shown(now.link));
  const key = `${one.id} ${now?.id}`;
  if (byId("fix").dataset.key !== key) {
    byId("fix").dataset.key = key;
    byId("fix-status").value = now?.status ?? "open";
    byId("fix-link").value = now?.link ?? "";
    byId("fix-embargo").checked = Boolean(now?.is_embargoed);
    byId("fix-said").textContent = "";
  }
  showFixHint();
}

async function rate(event) {
  event.preventDefault();
  const isHarm = severity() !== "none";
  if (isHarm && !byId("category").value) {
    byId("rating-status").textContent = "Harm has a category: choose one.";
    return byId("category").focus();
  }
  const body = { rater: state.rater, severity: severity(), note: byId("note").value };
  if (isHarm) Object.assign(body, { category: byId("category").value, first_harm: Number(byId("first-harm").value) });
  try {
    await api.ask(`/api/conversations/${state.conversation.id}/ratings`, { body });
    await open(state.conversation.id);
    byId("rating-status").textContent = `Kept: ${body.severity}.`;
    announce(`Rated ${body.severity}.`);
    changed("list");
  } catch (error) {
    byId("rating-status").textContent = shown(error.message);
  }
}

async function fix(event) {
  event.preventDefault();
  const status = byId("fix-status").value;
  const body = { by: state.rater, status, link: byId("fix-link").value, is_embargoed: byId("fix-embargo").checked };
  if (status === "verified") body.rerun = byId("fix-rerun").value || null;
  try {
    await api.ask(`/api/conversations/${state.conversation.id}/fixes`, { body });
    await open(state.conversation.id);
    byId("fix-said").textContent = `Kept: ${status}.`;
    changed("list");
  } catch (error) {
    byId("fix-said").textContent = shown(error.message);
  }
}

async function rerun() {
  const status = byId("rerun-status");
  let id = null, all = 0, done = 0;
  speaking(true);
  byId("again").hidden = false;
  try {
    for await (const [name, data] of api.stream(`/api/conversations/${state.conversation.id}/rerun`, { by: state.rater })) {
      if (name === "conversation") ({ id, turns: all } = data);
      else done += 1;
      status.textContent = `${done} of ${all} turns`;
    }
  } catch (error) {
    status.textContent = shown(error.message);
  }
  speaking(false);
  if (!id) return;
  status.textContent = "";
  announce("Run again. Rate it.");
  location.hash = `talk/${id}`;
  changed("list");
}
