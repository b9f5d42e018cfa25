// What the browser keeps of the SQL page, each user's apart: queries, what they ran last, and the last statements.
import { readJson, write } from "../storage";
import type { Options } from "./statements";

/** A statement that was run from a query: enough to find it again on the server. */
export interface Ran {
  id: string;
  text: string;
  from: number;
  line: number;
  column: number;
  state: string;
  started: number;
  ended: number;
}
export interface Draft {
  id: string;
  name: string;
  text: string;
  /** When it was changed last, in milliseconds since the epoch. */
  updated: number;
  session: string;
  ran: Ran[];
}
export interface Past {
  id: string;
  text: string;
  state: string;
  started: number;
  ended: number;
}
export interface Kept {
  drafts: Draft[];
  open: string;
  history: Past[];
  options: Options;
  /** Queries that were deleted, and when: another window must not bring them back. */
  gone: Record<string, number>;
}

export const HISTORY = 50;
const LONGEST = 20_000;
const GONE = 200;

export const NOTHING: Kept = { drafts: [], open: "", history: [], options: { rows: 1000, answers: "" }, gone: {} };
export const keyOf = (user: string): string => `sql.${user}`;

export function load(user: string): Kept {
  return sound(readJson<unknown>(keyOf(user), null));
}

/** Whatever was found there, as what it should be. */
export function sound(found: unknown): Kept {
  if (typeof found !== "object" || found === null) return structuredClone(NOTHING);
  const one = found as Partial<Kept>;
  const list = <T>(value: unknown, is: (one: T) => boolean): T[] =>
    Array.isArray(value) ? (value as T[]).filter((each) => typeof each === "object" && each !== null && is(each)) : [];
  const texts = (...values: unknown[]): boolean => values.every((value) => typeof value === "string");
  const drafts = list<Draft>(one.drafts, (each) => texts(each.id, each.name, each.text)).map((each) => ({
    id: each.id,
    name: each.name,
    text: each.text,
    updated: Number(each.updated) || 0,
    session: typeof each.session === "string" ? each.session : "",
    ran: list<Ran>(each.ran, (ran) => texts(ran.id, ran.text, ran.state)).map((ran) => ({
      ...ran,
      from: Number(ran.from) || 0,
      line: Number(ran.line) || 0,
      column: Number(ran.column) || 0,
    })),
  }));
  const { rows, answers } = { ...NOTHING.options, ...one.options };
  return {
    drafts,
    open: typeof one.open === "string" ? one.open : "",
    history: list<Past>(one.history, (each) => texts(each.id, each.text, each.state)).slice(0, HISTORY),
    options: {
      rows: [0, 1000, 10_000].includes(rows) ? rows : 1000,
      answers: ["", "keep", "again", "off"].includes(answers) ? answers : "",
    },
    gone: typeof one.gone === "object" && one.gone !== null ? one.gone : {},
  };
}

/** What this window knows with what another one kept meanwhile: of each query the newer, and none that was deleted. */
export function merge(mine: Kept, theirs: Kept): Kept {
  const gone: Record<string, number> = { ...theirs.gone };
  for (const [id, when] of Object.entries(mine.gone)) gone[id] = Math.max(when, gone[id] ?? 0);
  const recent = Object.fromEntries(Object.entries(gone).sort((a, b) => b[1] - a[1]).slice(0, GONE));
  const drafts = [...mine.drafts];
  for (const other of theirs.drafts) {
    const at = drafts.findIndex((one) => one.id === other.id);
    if (at < 0) drafts.push(other);
    else if (other.updated > (drafts[at]?.updated ?? 0)) drafts[at] = other;
  }
  const history = [...mine.history];
  for (const other of theirs.history) if (!history.some((one) => one.id === other.id)) history.push(other);
  return {
    drafts: drafts.filter((one) => !(one.id in recent)),
    open: mine.open,
    history: history.sort((a, b) => b.started - a.started).slice(0, HISTORY),
    options: mine.options,
    gone: recent,
  };
}

/** False when the browser has no room for it. */
export function save(user: string, kept: Kept): boolean {
  const history = kept.history.map((one) => ({ ...one, text: one.text.slice(0, LONGEST) }));
  return write(keyOf(user), JSON.stringify({ ...kept, history }));
}
