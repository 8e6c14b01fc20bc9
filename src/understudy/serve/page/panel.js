// The panel beside the chat: what is said before a conversation, and how words are drawn. Presets are kept in this browser.

import { byId, make, shown } from "/page/dom.js";
import { t } from "/page/language.js";

const KEPT = "understudy-presets";
// id of a field -> the name that the server knows
const REPETITION = { dry: "dry_multiplier", "dry-length": "dry_allowed_length", xtc: "xtc_probability", "xtc-threshold": "xtc_threshold" };
const FIELDS = { temperature: "temperature", "top-p": "top_p", "top-k": "top_k", "min-p": "min_p", "repeat-penalty": "repetition_penalty", ...REPETITION, seed: "seed", "max-tokens": "max_tokens" };
const SAMPLERS = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty", ...Object.values(REPETITION)];

const BUILT_IN = {
  Balanced: { temperature: 0.7, top_p: 0.95 },
  Exact: { temperature: 0 },
  Creative: { temperature: 1.1, min_p: 0.05, repetition_penalty: 1.1 },
};

/** What the panel says, by the server's names; a field that is empty is left to the server. */
export function readSettings() {
  const found = {};
  const system = byId("system").value.trim();
  if (system) found.system = system;
  for (const [id, name] of Object.entries(FIELDS)) {
    const value = byId(id).valueAsNumber;
    if (Number.isFinite(value)) found[name] = value;
  }
  return found;
}

/** What of the panel characters speak with: their temperature is their own. */
export function readRepetition() {
  const settings = readSettings();
  return Object.fromEntries(Object.values(REPETITION).filter((name) => name in settings).map((name) => [name, settings[name]]));
}

/** Puts the settings of a conversation into the panel. */
export function showSettings(settings) {
  byId("system").value = settings.system ?? "";
  for (const [id, name] of Object.entries(FIELDS)) byId(id).value = settings[name] ?? "";
  byId("preset").value = "";
}

const own = () => JSON.parse(localStorage.getItem(KEPT) ?? "{}");

function listPresets(chosen = "") {
  const group = (label, names) => make("optgroup", { label }, ...names.map((name) => make("option", { value: name }, shown(t(name)))));
  const kept = Object.keys(own());
  byId("preset").replaceChildren(make("option", { value: "" }, t("Choose a preset")), group(t("Built in"), Object.keys(BUILT_IN)), ...(kept.length ? [group(t("Yours"), kept)] : []));
  byId("preset").value = chosen;
  byId("remove-preset").hidden = !kept.includes(chosen);
}

export function setUpPanel() {
  showSettings({ temperature: 0.7, max_tokens: 400 });
  listPresets();
  byId("preset").addEventListener("change", (event) => {
    const name = event.target.value, preset = own()[name] ?? BUILT_IN[name];
    byId("remove-preset").hidden = !(name in own());
    if (!preset) return;
    const { system, ...before } = readSettings();
    for (const sampler of SAMPLERS) delete before[sampler];
    showSettings({ system, ...before, ...preset });
    byId("preset").value = name;
  });
  byId("save-preset").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("preset-name").value.trim();
    if (!name) return byId("preset-name").focus();
    localStorage.setItem(KEPT, JSON.stringify({ ...own(), [name]: readSettings() }));
    byId("preset-name").value = "";
    listPresets(name);
  });
  byId("remove-preset").addEventListener("click", () => {
    const { [byId("preset").value]: gone, ...rest } = own();
    localStorage.setItem(KEPT, JSON.stringify(rest));
    listPresets();
  });
}
