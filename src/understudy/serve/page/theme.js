// Light or dark: the system's wish until the reader chooses.

import { byId } from "/page/dom.js";
import { t } from "/page/language.js";

export function setUpTheme() {
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => localStorage.getItem("understudy-theme") ?? (wantsDark.matches ? "dark" : "light");
  const apply = () => {
    document.documentElement.dataset.theme = current();
    byId("theme").setAttribute("aria-label", t(current() === "dark" ? "Change to the light theme" : "Change to the dark theme"));
  };
  byId("theme").addEventListener("click", () => {
    localStorage.setItem("understudy-theme", current() === "dark" ? "light" : "dark");
    apply();
  });
  wantsDark.addEventListener("change", apply);
  apply();
}
