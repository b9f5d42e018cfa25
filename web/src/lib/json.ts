// JSON of which nobody promises a shape.
export type Json = Record<string, unknown>;

export const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

/** A value that is a text; empty for any other. */
export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** What a text stands for; undefined when it is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether whole numbers beyond 2^53 - 1 are in it, which a browser rounds when it reads them. */
export function rounded(value: unknown): boolean {
  if (typeof value === "number") return Number.isInteger(value) && !Number.isSafeInteger(value);
  return typeof value === "object" && value !== null && Object.values(value).some(rounded);
}

/** Readable if it is JSON; as it came if not. */
export function pretty(text: string): string {
  const found = parsed(text);
  return found === undefined ? text : JSON.stringify(found, null, 2);
}
