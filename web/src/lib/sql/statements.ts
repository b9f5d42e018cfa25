// The Statement Execution API, as the page uses it.  docs/reference/api.md, "SQL".
import { ask, send } from "../api";
import type { Cell, Row } from "./cells";

export type State = "PENDING" | "RUNNING" | "SUCCEEDED" | "FAILED" | "CANCELED" | "CLOSED";
export interface Column {
  name: string;
  type_text: string;
}
export interface Chunk {
  chunk_index: number;
  row_offset: number;
  row_count: number;
  byte_count: number;
}
export interface Failure {
  message: string;
  error_class?: string;
  line?: number;
  column?: number;
}
export interface Progress {
  rows?: number;
  kept?: number;
  shared?: number;
  failed?: number;
  under_way?: number;
  repeats?: number;
  prompt_tokens?: number;
  completion_tokens?: number;
  rows_out?: number;
  expected?: number;
  started_ms?: number;
  ended_ms?: number | null;
}
export interface Statement {
  statement_id: string;
  status: { state: State; error?: Failure };
  manifest?: { schema: { columns?: Column[] }; chunks?: Chunk[]; total_row_count?: number; truncated?: boolean };
  progress?: Progress;
}
export interface Options {
  /** 0 for all rows. */
  rows: number;
  /** "" for what the statement's kind decides. */
  answers: "" | "keep" | "again" | "off";
}

export const STATEMENTS = "/api/2.0/sql/statements";
const SESSIONS = "/api/2.0/sql/sessions";
const WAREHOUSE = "tesela";
const DONE = new Set(["SUCCEEDED", "FAILED", "CANCELED", "CLOSED"]);

export const isDone = (state: string): boolean => DONE.has(state);

export async function openSession(): Promise<string> {
  return (await ask<{ session_id: string }>(SESSIONS, { method: "POST", body: { warehouse_id: WAREHOUSE } })).session_id;
}

export async function closeSession(id: string): Promise<void> {
  await ask(`${SESSIONS}/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** Has a statement run, and does not wait.  Its result is fetched in chunks, however large it is. */
export function begin(text: string, session: string, options: Options): Promise<Statement> {
  const body: Record<string, unknown> = {
    statement: text,
    warehouse_id: WAREHOUSE,
    session_id: session,
    disposition: "EXTERNAL_LINKS",
    format: "JSON_ARRAY",
    wait_timeout: "0s",
  };
  if (options.rows) body["row_limit"] = options.rows;
  if (options.answers) body["answers"] = options.answers;
  return ask<Statement>(STATEMENTS, { method: "POST", body });
}

export function look(id: string): Promise<Statement> {
  return ask<Statement>(`${STATEMENTS}/${encodeURIComponent(id)}`);
}

export async function cancel(id: string): Promise<void> {
  await ask(`${STATEMENTS}/${encodeURIComponent(id)}/cancel`, { method: "POST", body: {} });
}

/** The rows of one chunk.  The link is made anew each time: it is good for minutes only. */
export async function chunk(id: string, index: number, signal?: AbortSignal): Promise<Row[]> {
  const how = signal ? { signal } : {};
  const path = `${STATEMENTS}/${encodeURIComponent(id)}/result/chunks/${index}`;
  const found = await ask<{ external_links?: { external_link: string }[] }>(path, how);
  const link = found.external_links?.[0]?.external_link;
  if (!link) return [];
  // The host of the link is the server as it knows itself; a page may have come by another name.
  const { pathname, search } = new URL(link, location.href);
  return (await (await send(pathname + search, how)).json()) as Cell[][];
}

/** All rows of a short statement of the page's own, such as SHOW TABLES. */
export async function quick(text: string, signal?: AbortSignal): Promise<Row[]> {
  const body = { statement: text, warehouse_id: WAREHOUSE, row_limit: 1000, wait_timeout: "30s", on_wait_timeout: "CANCEL" };
  const found = await ask<Statement & { result?: { data_array?: Row[] } }>(STATEMENTS, {
    method: "POST",
    body,
    ...(signal ? { signal } : {}),
  });
  return found.result?.data_array ?? [];
}
