// The SQL page's state: queries, what each runs, the last statements, and the options.  It outlives the page, so that what
// runs is followed while another page is shown.
import { t } from "../i18n.svelte";
import { newId } from "../ids";
import { keyOf, HISTORY, load, merge, save, type Draft, type Kept, type Past } from "./keep";
import { Batch, type Item } from "./run.svelte";
import { closeSession, openSession, type Options } from "./statements";
import type { Piece } from "./split";

const LATER_MS = 300;

export class Bench {
  drafts = $state<Draft[]>([]);
  open = $state("");
  history = $state<Past[]>([]);
  options = $state<Options>({ rows: 1000, answers: "" });
  /** The last query that was deleted, to bring it back. */
  deleted = $state.raw<{ draft: Draft; at: number } | null>(null);
  /** The browser has no room: what is typed lasts as long as the page. */
  full = $state(false);
  private readonly batches = new Map<string, Batch>();
  private gone: Record<string, number> = {};
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly user: string) {
    this.adopt(load(user));
    if (!this.drafts.length) this.add();
    if (!this.draft) this.open = this.drafts[0]?.id ?? "";
    window.addEventListener("pagehide", () => this.keep());
    window.addEventListener("storage", (event) => {
      if (event.key === `tesela.${keyOf(user)}`) this.adopt(merge(this.snapshot(), load(user)));
    });
  }

  get draft(): Draft | undefined {
    return this.drafts.find((one) => one.id === this.open);
  }

  /** What a query runs or ran; looked for on the server when the page has come back. */
  batch(draft: Draft): Batch {
    const there = this.batches.get(draft.id);
    if (there) return there;
    const batch = new Batch({
      changed: () => this.remember(draft.id),
      noted: (item) => this.note(item),
      session: () => this.session(draft.id),
      forgetSession: () => this.change(draft.id, { session: "" }),
    });
    this.batches.set(draft.id, batch);
    const ran = draft.ran;
    // Not at once: whoever asks may be putting the page together.
    if (ran.length) queueMicrotask(() => void batch.resume(ran));
    return batch;
  }

  run(draft: Draft, pieces: Piece[]): void {
    void this.batch(draft).run(pieces, { ...this.options });
  }

  type(draft: Draft, text: string): void {
    if (text !== draft.text) this.change(draft.id, { text });
  }

  rename(draft: Draft, name: string): void {
    if (name.trim()) this.change(draft.id, { name: name.trim().slice(0, 80) });
  }

  add(text = "", name = ""): void {
    const numbers = this.drafts.map((one) => Number(/(\d+)$/.exec(one.name)?.[1] ?? 0));
    const made = name || t("sql.query_name", { number: Math.max(0, ...numbers) + 1 });
    const draft = { id: newId(), name: made, text, updated: Date.now(), session: "", ran: [] };
    this.drafts.push(draft);
    this.open = draft.id;
    this.later();
  }

  remove(draft: Draft): void {
    const at = this.drafts.findIndex((one) => one.id === draft.id);
    if (at < 0) return;
    const session = this.deleted?.draft.session;
    // The one before it cannot come back any more.
    if (session) void closeSession(session).catch(() => undefined);
    this.deleted = { draft: $state.snapshot(draft), at };
    this.drafts.splice(at, 1);
    this.gone[draft.id] = Date.now();
    if (!this.drafts.length) this.add();
    if (this.open === draft.id) this.open = this.drafts[Math.min(at, this.drafts.length - 1)]?.id ?? "";
    this.keep();
  }

  undo(): void {
    const back = this.deleted;
    if (!back) return;
    // Under another id: the old one is known as deleted, also to other windows.
    const draft = { ...back.draft, id: newId(), updated: Date.now() };
    const batch = this.batches.get(back.draft.id);
    if (batch) draft.ran = batch.items.map((one) => one.kept());
    this.drafts.splice(back.at, 0, draft);
    this.deleted = null;
    this.open = draft.id;
    this.keep();
  }

  later(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(), LATER_MS);
  }

  keep(): void {
    clearTimeout(this.timer);
    const all = merge(this.snapshot(), load(this.user));
    this.full = !save(this.user, all);
  }

  clearHistory(): void {
    this.history = [];
    this.full = !save(this.user, { ...merge(this.snapshot(), load(this.user)), history: [] });
  }

  private snapshot(): Kept {
    const { drafts, open, history, options, gone } = this;
    return $state.snapshot({ drafts, open, history, options, gone });
  }

  private adopt(kept: Kept): void {
    this.drafts = kept.drafts;
    this.history = kept.history;
    this.options = kept.options;
    this.gone = kept.gone;
    if (!this.drafts.some((one) => one.id === this.open)) this.open = kept.open;
    if (this.drafts.length && !this.draft) this.open = this.drafts[0]?.id ?? "";
  }

  private change(id: string, to: Partial<Draft>): void {
    const draft = this.drafts.find((one) => one.id === id);
    if (!draft) return;
    Object.assign(draft, to, { updated: Date.now() });
    this.later();
  }

  private async session(id: string): Promise<string> {
    const known = this.drafts.find((one) => one.id === id)?.session;
    if (known) return known;
    const session = await openSession();
    this.change(id, { session });
    return session;
  }

  private remember(id: string): void {
    const items = this.batches.get(id)?.items ?? [];
    this.change(id, { ran: items.map((one) => one.kept()) });
    this.keep();
  }

  private note(item: Item): void {
    if (!item.id) return;
    const { id, text, state, started, ended } = item.kept();
    const at = this.history.findIndex((one) => one.id === id);
    if (at >= 0) this.history[at] = { id, text, state, started, ended };
    else this.history = [{ id, text, state, started, ended }, ...this.history].slice(0, HISTORY);
  }
}

let current: Bench | undefined;

/** Whoever is signed in has their own. */
export function bench(user: string): Bench {
  if (current?.user !== user) current = new Bench(user);
  return current;
}
