// A pane's conversation as JSON and as code that asks the same again.  Pure.
import { bodyOf, type Json } from "./request";
import type { Conversation, Message, PaneData } from "./types";
import { path } from "./tree";

/** Everything of a conversation, readable by `fromJson`. */
export function toJson(conversation: Conversation): string {
  return JSON.stringify({ tesela: "conversation", version: 1, conversation }, null, 2) + "\n";
}

/** Null for a text that is none of ours. */
export function fromJson(text: string): Conversation | null {
  try {
    const found = JSON.parse(text) as { tesela?: string; conversation?: Conversation };
    return found.tesela === "conversation" && Array.isArray(found.conversation?.panes) ? found.conversation : null;
  } catch {
    return null;
  }
}

/** What would be sent to get the last answer again. */
export function lastRequest(pane: PaneData): Json {
  const shown = path(pane.messages, pane.leaf);
  const end = shown.at(-1)?.role === "assistant" ? shown.length - 1 : shown.length;
  return bodyOf(shown.slice(0, end) as Message[], pane.settings, false);
}

export function toCurl(pane: PaneData): string {
  const body = JSON.stringify(lastRequest(pane), null, 2);
  return [
    "curl -sS --fail-with-body \\",
    '  -H "Authorization: Bearer $DATABRICKS_TOKEN" -H "Content-Type: application/json" \\',
    `  "$DATABRICKS_HOST/serving-endpoints/${encodeURIComponent(pane.endpoint)}/invocations" \\`,
    `  -d ${shellQuoted(body)}`,
    "",
  ].join("\n");
}

export function toPython(pane: PaneData): string {
  const body = lastRequest(pane);
  const known = Object.entries(body).map(([name, value]) => `    ${name}=${pythonOf(value, 4)},`);
  return [
    "import os",
    "",
    "from openai import OpenAI",
    "",
    "client = OpenAI(",
    '    api_key=os.environ["DATABRICKS_TOKEN"],',
    '    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",',
    ")",
    "answer = client.chat.completions.create(",
    `    model=${pythonOf(pane.endpoint, 4)},`,
    ...known,
    ")",
    "print(answer.choices[0].message)",
    "",
  ].join("\n");
}

/** A word for a POSIX shell. */
export function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A JSON value as a Python expression, indented by so many spaces. */
export function pythonOf(value: unknown, indent = 0): string {
  const inner = " ".repeat(indent + 4);
  const outer = " ".repeat(indent);
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  // JSON has no infinity, but 1e999 becomes one where it is read.
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : `float("${value > 0 ? "inf" : "-inf"}")`;
  // JSON's escapes are Python's too, but for pairs of surrogates, which JSON.stringify does not write.
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) {
    if (!value.length) return "[]";
    return `[\n${value.map((one) => `${inner}${pythonOf(one, indent + 4)},\n`).join("")}${outer}]`;
  }
  const entries = Object.entries(value as Json);
  if (!entries.length) return "{}";
  return `{\n${entries.map(([key, one]) => `${inner}${JSON.stringify(key)}: ${pythonOf(one, indent + 4)},\n`).join("")}${outer}}`;
}
