// Values as code.  Pure.
import type { Json } from "./json";

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

/** A text as a literal of Databricks SQL. */
export function sqlText(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n").replaceAll("\r", "\\r")}'`;
}
