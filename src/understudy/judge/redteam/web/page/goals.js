// What is to be attacked, with plans; conversations are begun from here too.

import * as api from "/page/api.js";
import { byId, make, shown } from "/page/dom.js";
import { show as showSetup } from "/workbench/setup.js";
import { listGoals, state } from "/workbench/state.js";

export function setUpGoals() {
  byId("goal-category").append(make("option", { value: "" }, "open"), ...state.about.categories.map((one) => make("option", { value: one.name }, one.name)));
  byId("goal-form").addEventListener("submit", add);
}

export async function showGoals() {
  byId("goals").replaceChildren(...(await listGoals()).map(card));
}

function card(goal) {
  const line = [goal.category, `${goal.conversations} ${goal.conversations === 1 ? "conversation" : "conversations"}`, `by ${goal.by}`].filter(Boolean).join(" · ");
  const done = make("input", { type: "checkbox", checked: goal.is_done, "aria-label": shown(`Done: ${goal.title}`), onchange: () => change(goal, { is_done: done.checked }) });
  return make("li", { class: `card goal${goal.is_done ? " done" : ""}` },
    make("b", { dir: "auto" }, shown(goal.title)), make("p", { class: "small" }, shown(line)),
    ...(goal.plan ? [make("p", { class: "plan", dir: "auto" }, shown(goal.plan))] : []),
    make("div", { class: "row" }, make("label", { class: "check" }, done, "Done"),
      make("button", { type: "button", "aria-label": shown(`Attack: ${goal.title}`), onclick: () => { location.hash = "talk"; showSetup(goal.id); } }, "Attack")));
}

async function add(event) {
  event.preventDefault();
  const status = byId("goal-status");
  try {
    const body = { by: state.rater, title: byId("goal-title").value, plan: byId("goal-plan").value, category: byId("goal-category").value || null };
    await api.ask("/api/goals", { body });
    byId("goal-form").reset();
    status.textContent = "";
    await showGoals();
    byId("goal-title").focus();
  } catch (error) {
    status.textContent = shown(error.message);
  }
}

async function change(goal, changes) {
  try {
    await api.ask(`/api/goals/${goal.id}`, { body: { by: state.rater, ...changes } });
  } catch (error) {
    byId("goal-status").textContent = shown(error.message);
  }
  await showGoals();
}
