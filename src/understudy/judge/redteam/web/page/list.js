// All conversations at the left: what they are, and how this person rated them.

import { byId, make, shown } from "/page/dom.js";
import { label, listConversations, on, state } from "/workbench/state.js";

let rows = [];
const WANTED = {
  all: () => true,
  unrated: (one) => one.turns > 0 && !one.mine,
  harmful: (one) => one.mine && one.mine !== "none",
  open: (one) => one.mine && one.mine !== "none" && one.fix !== "verified",
};

export function setUpList() {
  byId("filter").addEventListener("change", show);
  on("list", () => refreshList().catch(() => {}));
  on("conversation", show);
}

export async function refreshList() {
  rows = await listConversations();
  show();
}

function show() {
  const wanted = rows.filter(WANTED[byId("filter").value]);
  byId("rows").replaceChildren(...wanted.map(entry));
  byId("rows-empty").hidden = wanted.length > 0;
}

function entry(one) {
  const line = [`${one.turns} ${one.turns === 1 ? "turn" : "turns"}`, one.relation === "rerun" ? "re-run" : one.relation, one.by, one.fix].filter(Boolean).join(" · ");
  const button = make("button", { type: "button", class: "entry", onclick: () => { location.hash = `talk/${one.id}`; } },
    make("b", { dir: "auto" }, shown(label(one)).slice(0, 200)),
    make("small", { class: "tag", "data-severity": one.mine ?? "" }, one.mine ?? "not rated"),
    make("small", {}, shown(line)));
  if (one.id === state.conversation?.id) button.setAttribute("aria-current", "true");
  return make("li", {}, button);
}
