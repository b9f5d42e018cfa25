// Whether a conversation from a file is one that the page can show.  Pure.
import { isObject, type Json } from "../json";
import { DEFAULTS, type Conversation } from "./types";

type Check = (value: unknown) => boolean;
const text: Check = (value) => typeof value === "string";
const count: Check = (value) => typeof value === "number" && Number.isFinite(value);
const one = (...values: unknown[]): Check => (value) => values.includes(value);
const either = (...checks: Check[]): Check => (value) => checks.some((check) => check(value));
const maybe = (check: Check): Check => either(one(undefined), check);
const list = (check: Check): Check => (value) => Array.isArray(value) && value.every(check);
const shape = (fields: Record<string, Check>): Check => (value) =>
  isObject(value) && Object.entries(fields).every(([name, check]) => check(value[name]));

const USAGE = shape({ prompt: count, completion: count, reasoning: maybe(count) });
const MESSAGE = shape({
  id: text,
  parent: either(one(null), text),
  role: one("user", "assistant", "tool"),
  content: text,
  at: count,
  // Nothing is fetched from elsewhere.
  images: maybe(list((value) => typeof value === "string" && value.startsWith("data:image/"))),
  reasoning: maybe(text),
  refusal: maybe(text),
  finish: maybe(text),
  tool_call_id: maybe(text),
  tool_calls: maybe(list(shape({ id: text, name: text, arguments: text }))),
  metrics: maybe(
    shape({ first_ms: either(one(null), count), total_ms: count, usage: either(one(null), USAGE), model: text, request_id: text }),
  ),
  failure: maybe(shape({ status: count, code: text, message: text, request_id: text })),
});
const NUMBER = either(one(null), count);
const SETTINGS = shape({
  system: text, temperature: NUMBER, top_p: NUMBER, max_tokens: NUMBER, seed: NUMBER, stop: text, schema: text,
  reasoning: one("", "low", "medium", "high"),
  tools: list(shape({ name: text, description: text, parameters: text })),
  tool_choice: one("auto", "required", "none"),
  format: one("text", "json_object", "json_schema"),
}); // prettier-ignore
const PANE = shape({ id: text, endpoint: text, settings: SETTINGS, messages: list(MESSAGE), leaf: either(one(null), text) });
const CONVERSATION = shape({
  id: text,
  title: text,
  created: count,
  updated: count,
  sync: one(true, false),
  panes: (value) => list(PANE)(value) && (value as unknown[]).length > 0,
});

/** The conversation, settings that an earlier version did not have at their defaults; null for what is none. */
export function sound(found: unknown): Conversation | null {
  if (!isObject(found) || !Array.isArray(found["panes"])) return null;
  const panes = found["panes"].map((pane: unknown) => (isObject(pane) ? completed(pane) : pane));
  const made: unknown = { ...found, panes };
  return CONVERSATION(made) ? (made as Conversation) : null;
}

function completed(pane: Json): Json {
  return isObject(pane["settings"]) ? { ...pane, settings: { ...structuredClone(DEFAULTS), ...pane["settings"] } } : pane;
}
