// Puts the page together: views, panels, who is at work, theme.

import * as api from "/page/api.js";
import { byId, shown, turnTo } from "/page/dom.js";
import { setUpTheme } from "/page/theme.js";
import { setUpGoals, showGoals } from "/workbench/goals.js";
import { setUpJudge } from "/workbench/judge.js";
import { refreshList, setUpList } from "/workbench/list.js";
import { setUpOverview, showOverview } from "/workbench/overview.js";
import { setUpSetup } from "/workbench/setup.js";
import { changed, on, open, state } from "/workbench/state.js";
import { setUpTalk } from "/workbench/talk.js";

const VIEWS = ["talk", "goals", "overview"];
const view = () => (VIEWS.includes(location.hash.slice(1).split("/")[0]) ? location.hash.slice(1).split("/")[0] : "talk");

function showView() {
  turnTo(view(), VIEWS);
  const refresh = { goals: showGoals, overview: showOverview, talk: refreshList }[view()];
  refresh().catch(() => {});
}

/** `#talk/ID` opens a conversation, so that the browser's history and links work. */
async function follow() {
  const wasInside = byId(`view-${view()}`).contains(document.activeElement);
  showView();
  const id = location.hash.split("/")[1];
  if (view() === "talk" && id !== (state.conversation?.id ?? undefined) && !state.isSpeaking) {
    await open(id).catch(() => { location.hash = "talk"; });
  }
  if (!wasInside) byId(`title-${view()}`).focus({ preventScroll: true });
}

function showPanel(name) {
  byId("view-talk").dataset.panel = name;
  for (const button of document.querySelectorAll(".panels button")) button.setAttribute("aria-pressed", String(button.dataset.panel === name));
}

function askWho() {
  byId("who-name").value = state.rater;
  byId("who").showModal();
}

function setUpWho() {
  state.rater = localStorage.getItem("understudy-rater") || state.about.rater;
  byId("rater").addEventListener("click", askWho);
  byId("who").addEventListener("cancel", (event) => { if (!state.rater) event.preventDefault(); });
  byId("who-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("who-name").value;
    if (!name.trim()) return;
    state.rater = name;
    localStorage.setItem("understudy-rater", name);
    byId("who").close();
    changed("rater");
  });
  const show = () => {
    byId("rater").textContent = shown(state.rater || "Who are you?");
    byId("rater").setAttribute("aria-label", shown(`You are ${state.rater || "nobody yet"}; change`));
  };
  on("rater", () => { show(); showView(); if (state.conversation) open(state.conversation.id).catch(() => {}); });
  show();
  if (!state.rater) askWho();
}

async function begin() {
  setUpTheme();
  state.about = await api.ask("/api/about");
  byId("model").textContent = shown(state.about.model);
  byId("model").title = shown(`The model that is attacked: ${state.about.model}`);
  byId("store").textContent = shown(state.about.store);
  for (const button of document.querySelectorAll(".panels button")) button.addEventListener("click", () => showPanel(button.dataset.panel));
  let shownId = null;
  on("conversation", () => {
    if (state.conversation && state.conversation.id !== shownId) showPanel("talk");
    shownId = state.conversation?.id ?? null;
  });
  setUpList();
  setUpTalk();
  setUpJudge();
  setUpSetup();
  setUpGoals();
  setUpOverview();
  setUpWho();
  await follow();
  document.body.dataset.ready = "yes";
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
// A file that misses its field must not replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
addEventListener("hashchange", follow);
begin().catch((error) => { byId("model").textContent = shown(error.message); });
