// One request of the query panel: sent, streamed, stopped, and what came of it.
import { ApiError, send } from "../api";
import { Answer, usageOf } from "../chat/answer";
import type { Usage } from "../chat/types";
import { eventsOf } from "../sse";

const PACE_MS = 60;

export interface Outcome {
  status: number;
  /** Milliseconds. */
  total_ms: number;
  first_ms: number | null;
  usage: Usage | null;
  request_id: string;
  served: string;
}

export class Run {
  busy = $state(false);
  /** The answer as it came, readable if it is JSON. */
  raw = $state("");
  /** What a model wrote, of chats and completions. */
  text = $state("");
  vectors = $state.raw<number[][]>([]);
  /** Pictures that a model made, as data URLs. */
  pictures = $state.raw<string[]>([]);
  /** What the embeddings are of, as it was sent: the editor may say something else by now. */
  inputs: unknown = null;
  outcome = $state.raw<Outcome | null>(null);
  error = $state.raw<unknown>(null);
  /** Why it ended early: `stopped` by somebody, `cut` by the connection. */
  ended = $state<"" | "stopped" | "cut">("");
  #stop: AbortController | null = null;

  stop(): void {
    this.#stop?.abort();
  }

  async send(endpoint: string, body: string): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.raw = this.text = "";
    this.vectors = [];
    this.pictures = [];
    this.inputs = inputOf(body);
    this.outcome = this.error = null;
    this.ended = "";
    const stop = (this.#stop = new AbortController());
    const began = performance.now();
    const answer = new Answer();
    let lines: string[] = [];
    let first: number | null = null;
    let looked = 0;
    const look = (): void => {
      looked = performance.now();
      if (lines.length) this.raw += lines.join("");
      lines = [];
      this.text = answer.content;
    };
    let status = 0;
    let id = "";
    let served = "";
    let usage: Usage | null = null;
    try {
      const to = `/serving-endpoints/${encodeURIComponent(endpoint)}/invocations`;
      const response = await send(to, { method: "POST", body, signal: stop.signal });
      status = response.status;
      id = response.headers.get("x-request-id") ?? "";
      served = response.headers.get("served-model-name") ?? "";
      if (response.headers.get("content-type")?.startsWith("text/event-stream") && response.body) {
        for await (const event of eventsOf(response.body)) {
          first ??= performance.now() - began;
          answer.push(textOf(event));
          lines.push(`data: ${event}\n\n`);
          if (event.includes("data:image/")) this.pictures = [...this.pictures, ...picturesIn(parsed(event))];
          if (performance.now() - looked >= PACE_MS) look();
        }
        usage = answer.usage;
        if (answer.failure) this.error = new ApiError(status, answer.failure.code, answer.failure.message, "", id);
        else if (!answer.done) this.ended = "cut";
      } else {
        usage = this.#whole(await response.text(), answer);
      }
    } catch (error) {
      if (stop.signal.aborted) this.ended = "stopped";
      else if (error instanceof ApiError) {
        this.error = error;
        status = error.status;
        id = error.requestId;
      } else if (first !== null) this.ended = "cut";
      else this.error = new ApiError(0, "OFFLINE", "");
    }
    look();
    this.outcome = { status, total_ms: performance.now() - began, first_ms: first, usage, request_id: id, served };
    this.busy = false;
  }

  #whole(text: string, answer: Answer): Usage | null {
    const found = parsed(text);
    if (found === undefined) {
      this.raw = text;
      return null;
    }
    const value = (typeof found === "object" && found !== null ? found : {}) as { data?: { embedding?: unknown }[]; choices?: { text?: unknown }[]; usage?: Record<string, unknown> };
    answer.whole(found);
    this.pictures = picturesIn(found);
    const written = value.choices?.[0]?.text;
    if (typeof written === "string") answer.content = written;
    const vectors = (Array.isArray(value.data) ? value.data : []).map((one) => one.embedding);
    this.vectors = vectors.filter((one): one is number[] => Array.isArray(one) && one.every((part) => typeof part === "number"));
    this.raw = JSON.stringify(this.vectors.length ? shortened(found) : found, null, 2);
    return value.usage ? usageOf(value.usage) : null;
  }
}

/** A chunk of a completion in the form of a chat's. */
function textOf(event: string): string {
  try {
    const found = JSON.parse(event) as { choices?: { text?: string; finish_reason?: string }[] };
    const text = found.choices?.[0]?.text;
    if (typeof text !== "string") return event;
    return JSON.stringify({ ...found, choices: [{ delta: { content: text }, finish_reason: found.choices?.[0]?.finish_reason }] });
  } catch {
    return event;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function inputOf(body: string): unknown {
  const found = parsed(body);
  return typeof found === "object" && found !== null ? (found as { input?: unknown }).input : undefined;
}

const PICTURE = /^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]+$/;

/** Pictures anywhere in an answer.  Providers put them in parts of the content, in `images`, or in `data` as base64. */
export function picturesIn(value: unknown): string[] {
  if (typeof value === "string") return PICTURE.test(value) ? [value] : [];
  if (Array.isArray(value)) return value.flatMap(picturesIn);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, one]: [string, unknown]) =>
    key === "b64_json" && typeof one === "string" ? picturesIn(`data:image/png;base64,${one}`) : picturesIn(one),
  );
}

/** Thousands of numbers say nothing to a reader: the first ones stand for all. */
function shortened(value: unknown): unknown {
  if (Array.isArray(value)) {
    if (value.length > 16 && value.every((one) => typeof one === "number")) {
      return [...value.slice(0, 4), `… ${value.length - 4} more`];
    }
    return value.map(shortened);
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, shortened(one)]));
  }
  return value;
}

export function norm(vector: number[]): number {
  return Math.sqrt(vector.reduce((sum, one) => sum + one * one, 0));
}

export function cosine(a: number[], b: number[]): number {
  const dot = a.reduce((sum, one, at) => sum + one * (b[at] ?? 0), 0);
  return dot / (norm(a) * norm(b) || 1);
}
