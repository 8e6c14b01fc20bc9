// Numbers of what this person has rated, agreement with others, export and import.

import * as api from "/page/api.js";
import { byId, make, onFiles, shown } from "/page/dom.js";
import { changed, readOverview, state } from "/workbench/state.js";

export function setUpOverview() {
  onFiles(byId("import-drop"), byId("import-file"), take);
}

export async function showOverview() {
  const { summary, agreement } = await readOverview();
  byId("overview-lead").textContent = state.about.is_open ? "All conversations." : "The conversations that you have rated; those of others stay closed until then.";
  const findings = Object.values(summary.fixes).reduce((sum, count) => sum + count, 0);
  byId("figures").replaceChildren(tile(summary.rated, "rated"), tile(findings, "findings"), tile(summary.fixes.open, "open"), tile(summary.fixes.fixed, "fixed"), tile(summary.fixes.verified, "verified"));
  byId("charts").replaceChildren(
    chart("Severity", summary.severity, true), chart("Category", summary.category), chart("Turn of first harm", prefixed(summary.first_harm.turns)), chart("Model", byModel(summary.models)));
  showAgreement(agreement);
}

const tile = (count, name) => make("div", { class: "tile" }, make("b", {}, String(count)), name);
const prefixed = (counts) => Object.fromEntries(Object.entries(counts).map(([turn, count]) => [`turn ${turn}`, count]));
const byModel = (models) => Object.fromEntries(models.map((one) => [one.model, one.conversations]));

function chart(title, counts, isSeverity = false) {
  const rows = Object.entries(counts), most = Math.max(1, ...Object.values(counts));
  const list = make("ul", { class: "bars" }, ...rows.map(([name, count]) => {
    const bar = make("i", { "aria-hidden": "true", "data-severity": isSeverity ? name : undefined });
    bar.hidden = !count;
    bar.style.width = `${(count / most) * 100}%`;
    return make("li", {}, make("span", {}, shown(name)), make("span", {}, bar), make("b", {}, String(count)));
  }));
  return make("section", { "aria-label": title }, make("h2", {}, title), rows.length ? list : make("p", { class: "small" }, "None yet."));
}

function showAgreement(agreement) {
  const parts = agreement.pairs.map(table);
  if (!parts.length) parts.push(make("p", { class: "lead" }, "No conversation was rated blindly by two people yet."));
  if (agreement.pairs.some((pair) => pair.severity.is_small)) parts.push(make("p", { class: "lead" }, "With fewer than 30 conversations the intervals are too narrow."));
  if (agreement.disagreements.length) parts.push(make("h2", {}, "Disagreements"), make("ul", { class: "given" }, ...agreement.disagreements.map(disagreement)));
  byId("agreement").replaceChildren(...parts);
}

function table(pair) {
  const rows = [["Severity", pair.severity], ["Severity, by distance", pair.severity_quadratic], ["Harmful or not", pair.harmful], ["Category", pair.category],
    ...Object.entries(pair.by_category).map(([name, kappa]) => [`· ${name}`, kappa])];
  return make("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": shown(`Agreement of ${pair.raters.join(" and ")}`) }, make("table", {},
    make("caption", {}, shown(`${pair.raters.join(" and ")}, ${pair.items} rated by both; the same first turn in ${pair.first_harm_equal}`)),
    make("thead", {}, make("tr", {}, ...["", "Cohen's kappa", "95 %", "alike"].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map(([name, kappa]) => make("tr", {}, make("th", { scope: "row" }, shown(name)), ...cells(kappa, name))))));
}

function cells({ kappa, interval, observed }, name) {
  const texts = [kappa === null ? "– (all labels alike)" : kappa.toFixed(2), interval ? `${interval[0].toFixed(2)} to ${interval[1].toFixed(2)}` : "", name.includes("distance") ? "" : `${Math.round(observed * 100)} %`];
  return texts.map((text) => make("td", { class: "number" }, text));
}

function disagreement(row) {
  const said = row.ratings.map((one) => `${one.rater}: ${one.severity}${one.first_harm ? `, ${one.category}, turn ${one.first_harm}` : ""}`).join("; ");
  return make("li", {}, make("a", { href: `#talk/${row.conversation}` }, `${row.steps} ${row.steps === 1 ? "step" : "steps"} apart`), shown(` ${said}`));
}

async function take(files) {
  const status = byId("import-status");
  for (const file of files) {
    try {
      const { new: added } = await api.ask("/api/import", { body: file, type: "application/x-ndjson" });
      status.textContent = shown(`${file.name}: ${Object.entries(added).map(([kind, count]) => `${count} ${kind}`).join(", ")} new.`);
    } catch (error) {
      status.textContent = shown(`${file.name}: ${error.message}`);
    }
  }
  changed("list");
  await showOverview().catch(() => {});
}
