// One request of the query panel: sent, streamed, stopped, and what came of it.
import { ApiError } from "../api";
import { Answer, usageOf } from "../chat/answer";
import { Pace } from "../chat/pace";
import type { Usage } from "../chat/types";
import { invoke, type Head } from "../invoke";
import { isObject, parsed } from "../json";

/** Milliseconds between two looks at what has come. */
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
    const look = (): void => {
      if (lines.length) this.raw += lines.join("");
      lines = [];
      this.text = answer.content;
    };
    const pace = new Pace(PACE_MS, look);
    let head: Head = { status: 0, request_id: "", served: "" };
    let usage: Usage | null = null;
    try {
      await invoke(endpoint, body, stop.signal, {
        head: (told) => (head = told),
        event: (event) => {
          first ??= performance.now() - began;
          answer.push(chatChunk(event));
          lines.push(`data: ${event}\n\n`);
          if (event.includes("data:image/")) this.pictures = [...this.pictures, ...picturesIn(parsed(event))];
          pace.arrived();
          return true;
        },
        whole: (text) => (usage = this.#whole(text, answer)),
      });
      usage ??= answer.usage;
      const { failure } = answer;
      if (failure) this.error = new ApiError(head.status, failure.code, failure.message, "", head.request_id);
      else if (!answer.done) this.ended = "cut";
    } catch (error) {
      if (stop.signal.aborted) this.ended = "stopped";
      else if (error instanceof ApiError) {
        this.error = error;
        head = { ...head, status: error.status, request_id: error.requestId };
      } else if (first !== null) this.ended = "cut";
      else this.error = new ApiError(0, "OFFLINE", "");
    }
    pace.stop();
    look();
    this.outcome = { ...head, total_ms: performance.now() - began, first_ms: first, usage };
    this.busy = false;
  }

  #whole(text: string, answer: Answer): Usage | null {
    const found = parsed(text);
    answer.whole(found);
    if (found === undefined) {
      this.raw = text;
      return null;
    }
    const value = (isObject(found) ? found : {}) as { data?: { embedding?: unknown }[]; choices?: { text?: unknown }[]; usage?: Record<string, unknown> };
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
function chatChunk(event: string): string {
  const found = parsed(event);
  const first: unknown = isObject(found) && Array.isArray(found["choices"]) ? found["choices"][0] : undefined;
  if (!isObject(found) || !isObject(first) || typeof first["text"] !== "string") return event;
  const { text: content, finish_reason } = first;
  return JSON.stringify({ ...found, choices: [{ delta: { content }, finish_reason }] });
}

function inputOf(body: string): unknown {
  const found = parsed(body);
  return isObject(found) ? found["input"] : undefined;
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
