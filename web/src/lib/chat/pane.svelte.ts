// One model's side of a conversation, while it is on the page: asks, streams, stops, and keeps what came.
import { ApiError } from "../api";
import { newId } from "../ids";
import { invoke, type Head } from "../invoke";
import { Answer } from "./answer";
import { Pace } from "./pace";
import { bodyOf, problems } from "./request";
import { leafBelow, openCalls, path, versions, without } from "./tree";
import type { Failure, Message, PaneData, Settings } from "./types";

/** Milliseconds between two looks at what has come. */
const PACE_MS = 50;

/** An answer that is on its way. */
export interface Live {
  id: string;
  parent: string | null;
  content: string;
  reasoning: string;
  calls: Answer["calls"];
  first_ms: number | null;
  /** On the page's own clock, in milliseconds. */
  began: number;
}

export class Pane {
  readonly id: string;
  endpoint = $state("");
  settings = $state.raw<Settings>() as Settings;
  messages = $state.raw<Message[]>([]);
  leaf = $state<string | null>(null);
  live = $state.raw<Live | null>(null);
  readonly shown = $derived(path(this.messages, this.leaf));
  readonly busy = $derived(this.live !== null);
  readonly open = $derived(openCalls(this.shown));
  #stop: AbortController | null = null;
  #changed: () => void;

  constructor(data: PaneData, changed: () => void) {
    this.id = data.id;
    this.endpoint = data.endpoint;
    this.settings = data.settings;
    this.messages = data.messages;
    this.leaf = data.leaf;
    this.#changed = changed;
  }

  data(): PaneData {
    const { id, endpoint, settings, messages } = this;
    const half = this.#half();
    return { id, endpoint, settings, messages: half ? [...messages, half] : messages, leaf: half?.id ?? this.leaf };
  }

  /** What has come of an answer that is on its way, as if it ended here: the page may be left before it does. */
  #half(): Message | null {
    const live = this.live;
    if (!live || !(live.content || live.reasoning)) return null;
    return {
      id: live.id, parent: live.parent, role: "assistant", content: live.content, at: Date.now(), finish: "stopped",
      metrics: { first_ms: live.first_ms, total_ms: performance.now() - live.began, usage: null, model: "", request_id: "" },
      ...(live.reasoning ? { reasoning: live.reasoning } : {}),
    }; // prettier-ignore
  }

  /** Become what another window has made of it; with `own`, beside the messages that are only here. */
  adopt(data: PaneData, own: boolean): void {
    // What that window has of the answer that is on its way here is not the answer.
    const theirs = data.messages.filter((one) => one.id !== this.live?.id);
    const ids = new Set(theirs.map((one) => one.id));
    this.messages = own ? [...theirs, ...this.messages.filter((one) => !ids.has(one.id))] : theirs;
    if (own) return;
    this.endpoint = data.endpoint;
    this.settings = data.settings;
    this.leaf = data.leaf;
  }

  use(endpoint: string): void {
    this.endpoint = endpoint;
    this.#changed();
  }

  set(settings: Settings): void {
    this.settings = settings;
    this.#changed();
  }

  /** Say something and get an answer to it. */
  async ask(content: string, images: string[] = []): Promise<void> {
    if (this.busy) return;
    this.#add({ role: "user", content, ...(images.length ? { images } : {}) }, this.leaf);
    await this.answer();
  }

  /** Another answer to the same: a version beside the one that there is. */
  async again(message: Message): Promise<void> {
    if (this.busy) return;
    this.leaf = message.parent;
    await this.answer();
  }

  /** Another wording of what was said, with an answer of its own. */
  async edit(message: Message, content: string): Promise<void> {
    if (this.busy) return;
    this.#add({ role: "user", content, ...(message.images ? { images: message.images } : {}) }, message.parent);
    await this.answer();
  }

  /** The results of the tools that the model called, and its answer to them. */
  async results(texts: Record<string, string>): Promise<void> {
    if (this.busy) return;
    for (const call of this.open) this.#add({ role: "tool", tool_call_id: call.id, content: texts[call.id] ?? "" }, this.leaf);
    await this.answer();
  }

  choose(message: Message): void {
    this.leaf = leafBelow(this.messages, message.id);
    this.#changed();
  }

  versions(message: Message): Message[] {
    return versions(this.messages, message);
  }

  remove(message: Message): void {
    this.messages = without(this.messages, message.id);
    this.leaf = message.parent;
    this.#changed();
  }

  clear(): void {
    this.stop();
    this.messages = [];
    this.leaf = null;
    this.#changed();
  }

  stop(): void {
    this.#stop?.abort();
  }

  /** Ask for an answer to what is shown.  What goes wrong stands in the message; nothing is thrown. */
  async answer(): Promise<void> {
    if (this.busy || Object.keys(problems(this.settings)).length) return;
    const began = performance.now();
    const live: Live = { id: newId(), parent: this.leaf, content: "", reasoning: "", calls: [], first_ms: null, began };
    const stop = (this.#stop = new AbortController());
    const body = bodyOf(this.shown, this.settings);
    const answer = new Answer();
    let head: Head = { status: 0, served: "", request_id: "" };
    let failure: Failure | null = null;
    const pace = new Pace(PACE_MS, () => {
      this.live = { ...live, content: answer.content, reasoning: answer.reasoning, calls: [...answer.calls] };
    });
    const arrived = (): void => {
      if (live.first_ms === null && answer.begun) live.first_ms = performance.now() - began;
      pace.arrived();
    };
    this.live = live;
    try {
      await invoke(this.endpoint, body, stop.signal, {
        head: (told) => (head = told),
        event: (data) => {
          answer.push(data);
          arrived();
          return !answer.failure;
        },
        whole: (text) => {
          answer.whole(JSON.parse(text));
          arrived();
        },
      });
      if (answer.failure) failure = { ...answer.failure, request_id: head.request_id };
      // A whole stream ends with [DONE]; one that the connection took with it does not.
      else if (!answer.done && !answer.finish) failure = { status: 0, code: "CUT", message: "", request_id: head.request_id };
    } catch (error) {
      if (stop.signal.aborted) answer.finish = "stopped";
      else failure = failureOf(error, head.request_id, answer.begun);
    } finally {
      pace.stop();
    }
    const message: Message = {
      id: live.id, parent: live.parent, role: "assistant", content: answer.content, at: Date.now(),
      metrics: {
        first_ms: live.first_ms, total_ms: performance.now() - began, usage: answer.usage,
        model: head.served || answer.model, request_id: head.request_id,
      },
      ...(answer.reasoning ? { reasoning: answer.reasoning } : {}),
      ...(answer.refusal ? { refusal: answer.refusal } : {}),
      ...(answer.calls.length ? { tool_calls: answer.calls } : {}),
      ...(answer.finish ? { finish: answer.finish } : {}),
      ...(failure ? { failure } : {}),
    }; // prettier-ignore
    this.live = null;
    this.#stop = null;
    // Somebody may have cleared the pane meanwhile: then nobody waits for this.
    if (live.parent === null || this.messages.some((one) => one.id === live.parent)) {
      this.messages = [...this.messages, message];
      this.leaf = message.id;
      this.#changed();
    }
  }

  #add(part: Pick<Message, "role" | "content"> & Partial<Message>, parent: string | null): void {
    const message: Message = { id: newId(), parent, at: Date.now(), ...part };
    this.messages = [...this.messages, message];
    this.leaf = message.id;
    this.#changed();
  }
}

function failureOf(error: unknown, requestId: string, begun: boolean): Failure {
  if (error instanceof ApiError) {
    return { status: error.status, code: error.code, message: error.message, request_id: error.requestId };
  }
  if (error instanceof RangeError) return { status: 0, code: "TOO_LONG", message: error.message, request_id: requestId };
  // The browser's own words for a connection that broke say nothing to anybody.
  return { status: 0, code: begun ? "CUT" : "OFFLINE", message: "", request_id: requestId };
}
