// How values are shown.  The server gives each as a text, or null.

export type Cell = string | null;
export type Row = Cell[];

const NUMBERS = /^(?:TINYINT|SMALLINT|INT|INTEGER|BIGINT|LONG|SHORT|BYTE|FLOAT|DOUBLE|DECIMAL)\b/i;
const NESTED = /^(?:ARRAY|MAP|STRUCT|VARIANT|OBJECT)\b/i;
const SHOWN = 300;
const PRETTY_MOST = 2_000_000;

export function isNumber(type: string): boolean {
  return NUMBERS.test(type);
}

/** One line, and no more than can be seen: the whole is shown when it is asked for. */
export function short(cell: string): string {
  const cut = cell.length > SHOWN ? `${whole(cell.slice(0, SHOWN))}…` : cell;
  return cut.replace(/\r\n|[\n\r\u2028\u2029]/g, "↵").replace(/\t/g, "⇥");
}

/** Without half a character at its end. */
function whole(text: string): string {
  return /[\uD800-\uDBFF]$/.test(text) ? text.slice(0, -1) : text;
}

/** JSON on lines of its own, for values that are lists, maps or structs, or texts that hold some; null for others. */
export function pretty(cell: string, type: string): string | null {
  if (!NESTED.test(type) && !/^\s*[[{]/.test(cell)) return null;
  if (cell.length > PRETTY_MOST) return null;
  try {
    const found: unknown = JSON.parse(cell);
    if (typeof found !== "object" || found === null) return null;
  } catch {
    return null;
  }
  return indented(cell);
}

/** The same JSON with lines and spaces.  Read as text, not as values: a number of 19 digits stays what it is. */
function indented(json: string): string {
  const tokens = json.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/gs) ?? [];
  let depth = 0;
  let out = "";
  tokens.forEach((token, at) => {
    const before = tokens[at - 1] ?? "";
    if (token === "]" || token === "}") {
      depth--;
      if (before !== "[" && before !== "{") out += `\n${"  ".repeat(depth)}`;
    } else if (before === "[" || before === "{" || before === ",") {
      out += `\n${"  ".repeat(depth)}`;
    }
    out += token === ":" ? ": " : token;
    if (token === "[" || token === "{") depth++;
  });
  return out;
}

const LETTER = 8.4;
const EDGES = 28;
const CAP = 420;

/** Widths of columns in pixels, for what stands in their heads and their first rows.  What room is left goes to those whose
 *  values are longer than their share. */
export function widths(columns: { name: string; type_text: string }[], rows: Row[], room = 0): number[] {
  const wanted = columns.map((column, at) => {
    const longest = rows.reduce((most, row) => Math.max(most, Math.min(400, row[at]?.length ?? 4)), 0);
    const head = Math.max(Math.min(column.name.length, 40) * 1.1, Math.min(column.type_text.length, 24) * 0.9);
    return Math.max(72, Math.ceil(Math.max(longest, head) * LETTER) + EDGES);
  });
  // On a phone a value may take most of the screen, and never all of it.
  const cap = room ? Math.max(160, Math.min(CAP, room * 0.8)) : CAP;
  const out = wanted.map((one) => Math.min(cap, one));
  let left = room - out.reduce((sum, one) => sum + one, 0);
  for (let more = -1; left > 1 && more !== 0; ) {
    const short = wanted.flatMap((one, at) => (one > (out[at] ?? 0) ? [at] : []));
    more = short.length ? Math.floor(left / short.length) : 0;
    for (const at of short) {
      const gets = Math.min(more, (wanted[at] ?? 0) - (out[at] ?? 0));
      out[at] = (out[at] ?? 0) + gets;
      left -= gets;
    }
  }
  return out;
}
