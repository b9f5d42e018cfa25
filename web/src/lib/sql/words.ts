// States and durations, as people read them.
import { language, t, type Key } from "../i18n.svelte";
import type { ItemState } from "./run.svelte";

export const STATES: Record<ItemState, Key> = {
  WAITING: "sql.state_waiting",
  SENDING: "sql.state_pending",
  PENDING: "sql.state_pending",
  RUNNING: "sql.state_running",
  SUCCEEDED: "sql.state_succeeded",
  FAILED: "sql.state_failed",
  CANCELED: "sql.state_canceled",
  CLOSED: "sql.state_lost",
  LOST: "sql.state_lost",
  SKIPPED: "sql.state_skipped",
};

export function stateName(state: string): string {
  return t(STATES[state as ItemState] ?? "sql.state_lost");
}

export function toneOf(state: string): "" | "good" | "bad" | "warn" {
  return state === "SUCCEEDED" ? "good" : state === "FAILED" ? "bad" : state === "CANCELED" ? "warn" : "";
}

/** 240 ms, 3.2 s, 2 min 5 s. */
export function duration(ms: number): string {
  const show = (value: number, unit: string, digits = 0) =>
    value.toLocaleString(language(), { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits });
  if (ms < 1000) return show(ms, "millisecond");
  if (ms < 60_000) return show(ms / 1000, "second", 1);
  return `${show(Math.floor(ms / 60_000), "minute")} ${show(Math.floor((ms % 60_000) / 1000), "second")}`;
}
