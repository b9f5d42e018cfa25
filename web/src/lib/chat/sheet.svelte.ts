// A conversation that was opened: its panes, and the moment when it is kept.  It goes on while another one is looked at.
import { Pane } from "./pane.svelte";
import { newPane, type Conversation } from "./types";

const SAVE_MS = 400;
const TITLE = 60;
export const MOST_PANES = 6;

export class Sheet {
  readonly id: string;
  readonly created: number;
  title = $state("");
  sync = $state(true);
  panes = $state.raw<Pane[]>([]);
  readonly busy = $derived(this.panes.some((one) => one.busy));
  #timer: ReturnType<typeof setTimeout> | undefined;
  #touched = false;
  /** When this window kept it last. */
  #kept = 0;
  #keep: (data: Conversation) => void;

  constructor(conversation: Conversation, keep: (data: Conversation) => void) {
    this.id = conversation.id;
    this.created = conversation.created;
    this.title = conversation.title;
    this.sync = conversation.sync;
    this.panes = conversation.panes.map((one) => new Pane(one, () => this.touch()));
    this.#keep = keep;
  }

  data(): Conversation {
    const { id, title, created, sync } = this;
    return { id, title, created, updated: Date.now(), sync, panes: this.panes.map((one) => one.data()) };
  }

  /** Become what another window has made of it.  What is not kept yet here stays, and is kept with it. */
  adopt(conversation: Conversation): void {
    if (conversation.updated <= this.#kept) return;
    const own = this.#touched || this.busy;
    this.title = conversation.title;
    this.sync = conversation.sync;
    const known = new Map(this.panes.map((one) => [one.id, one]));
    const panes = conversation.panes.map((one) => {
      const pane = known.get(one.id) ?? new Pane(one, () => this.touch());
      pane.adopt(one, own);
      return pane;
    });
    // An answer that is on its way here is not lost by a pane that was closed there.
    this.panes = [...panes, ...this.panes.filter((one) => one.busy && !panes.includes(one))];
    if (own) this.touch();
  }

  rename(title: string): void {
    this.title = title;
    this.touch();
  }

  setSync(sync: boolean): void {
    this.sync = sync;
    this.touch();
  }

  /** Another pane, with the settings of the last one. */
  compare(endpoint: string): void {
    if (this.panes.length >= MOST_PANES) return;
    const data = newPane(endpoint, $state.snapshot(this.panes.at(-1)?.settings));
    this.panes = [...this.panes, new Pane(data, () => this.touch())];
    this.touch();
  }

  close(pane: Pane): void {
    pane.stop();
    this.panes = this.panes.filter((one) => one !== pane);
    this.touch();
  }

  /** One prompt to all panes. */
  ask(content: string, images: string[]): void {
    for (const pane of this.panes) void pane.ask(content, images);
  }

  stop(): void {
    for (const pane of this.panes) pane.stop();
  }

  /** Something has changed: it is kept a moment later. */
  touch(): void {
    this.#touched = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.save(), SAVE_MS);
  }

  /** Keep it now.  What nobody has said anything in yet is not kept. */
  save(): void {
    clearTimeout(this.#timer);
    if (!this.#touched && !this.busy) return;
    this.#touched = false;
    const first = this.panes.flatMap((one) => one.messages).find((one) => one.role === "user");
    if (!first && !this.title) return;
    if (!this.title && first) this.title = first.content.trim().split("\n")[0]?.slice(0, TITLE) || "…";
    const data = this.data();
    this.#kept = data.updated;
    this.#keep(data);
  }

  /** Stop, and keep nothing more. */
  drop(): void {
    clearTimeout(this.#timer);
    this.stop();
    this.#keep = () => undefined;
  }
}
