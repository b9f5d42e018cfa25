// Light, dark, or as the system has it.
import { read, write } from "./storage";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];
const current = $state<{ theme: Theme }>({ theme: "system" });

export function startTheme(): void {
  const kept = read("theme");
  setTheme(THEMES.find((one) => one === kept) ?? "system", false);
}

export function theme(): Theme {
  return current.theme;
}

export function setTheme(theme: Theme, keep = true): void {
  current.theme = theme;
  document.documentElement.dataset["theme"] = theme;
  if (keep) write("theme", theme);
}
