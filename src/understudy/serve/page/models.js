// The model picker: what the server has, whether it is loaded, how large and how fast it is.

import * as api from "/page/api.js";
import { byId, make, shown } from "/page/dom.js";
import { t } from "/page/language.js";

const rates = new Map(); // model -> tokens a second of its last answer
let loaded = new Map(); // model -> what `/ps` says of it

export const model = () => byId("model").value || undefined;

export function setUpModels() {
  byId("model").addEventListener("change", describe);
  byId("model").addEventListener("focus", () => listModels().catch(() => {}));
}

/** What was measured of the chosen model. */
export function measured(rate) {
  rates.set(model(), rate);
  if (loaded.has(model())) describe();
  else listModels().catch(() => {}); // it was loaded for this answer
}

export async function listModels() {
  const [{ data }, state] = await Promise.all([api.ask("/v1/models"), api.ask("/ps").catch(() => ({ models: [] }))]);
  loaded = new Map(state.models.map((one) => [one.name, one]));
  const chosen = model();
  byId("model").replaceChildren(...data.map(({ id }) => make("option", { value: id }, shown(loaded.has(id) || !state.models.length ? id : t("{name} (not loaded)", { name: id })))));
  if (data.some(({ id }) => id === chosen)) byId("model").value = chosen;
  describe();
}

function describe() {
  const one = loaded.get(model()), rate = rates.get(model());
  const parts = one ? [size(one.weight_bytes), t("{count} tokens of context", { count: one.context.toLocaleString() })] : [];
  if (rate) parts.push(t("{rate} tokens/s", { rate: rate.toFixed(0) }));
  byId("model-state").textContent = parts.join(" · ");
}

const size = (bytes) => (bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
