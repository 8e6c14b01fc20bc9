// Light or dark: the system's wish until the reader chooses.

import { byId } from "/page/dom.js";

export function setUpTheme() {
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => localStorage.getItem("understudy-theme") ?? (wantsDark.matches ? "dark" : "light");
  const apply = () => {
    document.documentElement.dataset.theme = current();
    byId("theme").setAttribute("aria-label", `Change to the ${current() === "dark" ? "light" : "dark"} theme`);
  };
  byId("theme").addEventListener("click", () => {
    localStorage.setItem("understudy-theme", current() === "dark" ? "light" : "dark");
    apply();
  });
  wantsDark.addEventListener("change", apply);
  apply();
}
