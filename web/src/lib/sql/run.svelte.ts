// Statements of a query, run one after the other in one session, and followed until they are done.  They are the server's:
// they go on when the page is left, and are found again by their ids.
import { ApiError } from "../api";
import type { Ran } from "./keep";
import type { Piece } from "./split";
import { Rows } from "./rows.svelte";
import * as api from "./statements";

const FIRST_PAUSE_MS = 60;
const MOST_PAUSE_MS = 1000;

/** WAITING has not been sent; SKIPPED was not sent because one before it failed; LOST is known no more by the server. */
export type ItemState = api.State | "WAITING" | "SENDING" | "SKIPPED" | "LOST";

export class Item {
  id = $state("");
  state = $state<ItemState>("WAITING");
  started = $state(0);
  ended = $state(0);
  progress = $state.raw<api.Progress>({});
  failure = $state.raw<api.Failure | null>(null);
  /** Why it could not be sent or looked at. */
  trouble = $state.raw<unknown>(null);
  columns = $state.raw<api.Column[]>([]);
  chunks = $state.raw<api.Chunk[]>([]);
  rows = $state.raw<Rows | null>(null);
  truncated = $state(false);
  /** By this machine's clock, when it was sent from here: the server's may go otherwise. */
  since = $state(0);

  constructor(readonly piece: Piece) {}

  get over(): boolean {
    return api.isDone(this.state) || this.state === "SKIPPED" || this.state === "LOST";
  }

  take(found: api.Statement): void {
    this.id = found.statement_id;
    this.progress = found.progress ?? {};
    this.started = this.progress.started_ms ?? this.started;
    this.ended = this.progress.ended_ms ?? 0;
    this.failure = found.status.error ?? null;
    if (found.manifest && !this.rows) {
      this.columns = found.manifest.schema.columns ?? [];
      this.chunks = found.manifest.chunks ?? [];
      this.truncated = found.manifest.truncated ?? false;
      this.rows = new Rows(found.statement_id, this.chunks);
    }
    this.state = found.status.state;
  }

  kept(): Ran {
    const { text, from, line, column } = this.piece;
    return { id: this.id, text, from, line, column, state: this.state, started: this.started, ended: this.ended };
  }
}

export function itemOf(ran: Ran): Item {
  const { text, from, line, column } = ran;
  const item = new Item({ text, from, to: from + text.length, line, column });
  item.id = ran.id;
  item.started = ran.started;
  item.ended = ran.ended;
  // One that was never sent is not sent by itself later: nobody may expect it any more.
  item.state = ran.id ? (ran.state as ItemState) : "SKIPPED";
  return item;
}

interface Hooks {
  /** Something is to be kept. */
  changed(): void;
  /** A statement was sent, or is done. */
  noted(item: Item): void;
  session(): Promise<string>;
  forgetSession(): void;
}

/** What one query runs, or ran last. */
export class Batch {
  items = $state<Item[]>([]);
  running = $state(false);
  stopping = $state(false);
  shown = $state(0);
  trouble = $state.raw<unknown>(null);

  constructor(private readonly hooks: Hooks) {}

  async run(pieces: Piece[], options: api.Options): Promise<void> {
    if (this.running) return;
    this.items = pieces.map((piece) => new Item(piece));
    this.running = true;
    this.stopping = false;
    this.trouble = null;
    for (const [at, item] of this.items.entries()) {
      this.shown = at;
      await this.send(item, options);
      if (item.state !== "SUCCEEDED") break;
    }
    this.finish();
  }

  /** What ran when the page was left. */
  async resume(ran: Ran[]): Promise<void> {
    this.items = ran.map(itemOf);
    this.shown = Math.max(0, this.items.findLastIndex((one) => one.id));
    this.running = true;
    await Promise.all(this.items.filter((one) => one.id).map((one) => this.follow(one)));
    this.finish();
  }

  async cancel(): Promise<void> {
    this.stopping = true;
    this.trouble = null;
    try {
      await Promise.all(this.items.filter((one) => one.id && !one.over).map((one) => api.cancel(one.id)));
    } catch (error) {
      this.trouble = error;
      this.stopping = false;
    }
  }

  private finish(): void {
    for (const one of this.items) if (one.state === "WAITING" || one.state === "SENDING") one.state = "SKIPPED";
    this.running = false;
    this.stopping = false;
    this.hooks.changed();
  }

  private async send(item: Item, options: api.Options): Promise<void> {
    if (this.stopping) return;
    item.state = "SENDING";
    item.started = item.since = Date.now();
    try {
      item.take(await this.begun(item.piece.text, options));
    } catch (error) {
      item.trouble = error;
      item.state = "SKIPPED";
      return;
    }
    this.hooks.noted(item);
    this.hooks.changed();
    if (this.stopping) await this.cancel();
    await this.follow(item);
  }

  /** Sessions end after an hour without use, and with the server's process: then in a new one. */
  private async begun(text: string, options: api.Options): Promise<api.Statement> {
    const session = await this.hooks.session();
    try {
      return await api.begin(text, session, options);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      this.hooks.forgetSession();
      return api.begin(text, await this.hooks.session(), options);
    }
  }

  private async follow(item: Item): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    while (!item.over || (item.state === "SUCCEEDED" && !item.rows) || (item.state === "FAILED" && !item.failure)) {
      try {
        item.take(await api.look(item.id));
        item.trouble = null;
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) {
          item.state = "LOST";
          item.trouble = null;
          break;
        }
        // A server that is gone, or a session that is over: the statement goes on, and is asked for again.
        item.trouble = error;
        pause = MOST_PAUSE_MS;
      }
      if (item.over) break;
      await new Promise((done) => setTimeout(done, pause));
      pause = Math.min(pause * 1.5, MOST_PAUSE_MS);
    }
    this.hooks.noted(item);
    this.hooks.changed();
  }
}
