// The Playground's state: the conversations, the one on the page, and the endpoints that can be asked.  It outlives the
// page, so an answer goes on while somebody looks at another one.
import { list, standsIn, taskOf, type Endpoint } from "../endpoints";
import { newId } from "../ids";
import { read, readTab, write, writeTab } from "../storage";
import { open, type Keeper } from "./keep";
import { Sheet } from "./sheet.svelte";
import { newConversation, type Conversation } from "./types";

export class Workbench {
  endpoints = $state.raw<Endpoint[]>([]);
  /** Whether it is known which conversation is looked at, and which endpoints there are. */
  opened = $state(false);
  ready = $state(false);
  trouble = $state.raw<unknown>(null);
  /** Set when the browser has no room for a conversation. */
  unsaved = $state(false);
  conversations = $state.raw<Conversation[]>([]);
  sheet = $state.raw<Sheet>() as Sheet;
  #keeper: Keeper | null = null;
  #opened = new Map<string, Sheet>();

  constructor(private readonly user: string) {
    this.sheet = this.#open(newConversation("", Date.now()));
  }

  /** Load what there is and show the last conversation, or a new one with the endpoint that was asked for. */
  async start(endpoint: string | null): Promise<void> {
    const endpoints = this.load();
    if (this.#keeper === null) {
      this.#keeper = await open(this.user);
      this.conversations = await this.#keeper.all();
      this.#keeper.watch((id) => void this.#heard(id));
      if (!endpoint) this.#show(this.#open(this.#last()));
    }
    if (endpoint) this.fresh(endpoint);
    this.opened = true;
    await endpoints;
    this.ready = true;
  }

  /** The endpoints that answer chats.  Those that stand in for others come last: nobody begins with them. */
  async load(): Promise<void> {
    this.trouble = null;
    try {
      const chats = (await list()).filter((one) => taskOf(one) === "chat");
      this.endpoints = [...chats.filter((one) => !standsIn(one)), ...chats.filter(standsIn)];
      this.#fill();
    } catch (error) {
      this.trouble = error;
    }
  }

  /** What a new pane asks: what was asked last, else the first that is ready. */
  get usual(): string {
    const last = read(`endpoint.${this.user}`);
    const able = this.endpoints.filter((one) => one.state?.ready !== "NOT_READY");
    return (this.endpoints.find((one) => one.name === last) ?? able[0] ?? this.endpoints[0])?.name ?? "";
  }

  /** A model that no pane asks yet, if there is one. */
  get another(): string {
    const used = new Set(this.sheet.panes.map((one) => one.endpoint));
    const able = this.endpoints.filter((one) => one.state?.ready !== "NOT_READY");
    return able.find((one) => !used.has(one.name))?.name ?? this.sheet.panes.at(-1)?.endpoint ?? this.usual;
  }

  fresh(endpoint = this.usual): void {
    this.#show(this.#open(newConversation(endpoint, Date.now())));
  }

  select(id: string): void {
    const found = this.conversations.find((one) => one.id === id);
    if (found && id !== this.sheet.id) this.#show(this.#open(found));
  }

  /** What was removed, so that it can be put back. */
  async remove(id: string): Promise<Conversation | undefined> {
    const found = this.conversations.find((one) => one.id === id);
    this.conversations = this.conversations.filter((one) => one.id !== id);
    this.#opened.get(id)?.drop();
    this.#opened.delete(id);
    if (id === this.sheet.id) this.fresh();
    await this.#keeper?.remove(id);
    return found;
  }

  /** Put one back that was removed, or take one from a file, under an id that is not taken. */
  add(conversation: Conversation): void {
    const taken = this.conversations.some((one) => one.id === conversation.id);
    this.#keep(taken ? { ...conversation, id: newId() } : conversation);
  }

  /** Keep what is not kept yet, before the page goes away. */
  save(): void {
    for (const sheet of this.#opened.values()) sheet.save();
  }

  stop(): void {
    for (const sheet of this.#opened.values()) sheet.stop();
  }

  /** Another window has changed a conversation: what is open here must not write over that. */
  async #heard(id: string): Promise<void> {
    const changed = (await this.#keeper?.all())?.find((one) => one.id === id);
    this.conversations = [...(changed ? [changed] : []), ...this.conversations.filter((one) => one.id !== id)];
    if (changed) this.#opened.get(id)?.adopt(changed);
  }

  /** The conversation that was looked at last: in this tab also one that nobody has said anything in, for its draft. */
  #last(): Conversation {
    const here = readTab(`conversation.${this.user}`);
    const id = here ?? read(`conversation.${this.user}`);
    const last = this.conversations.find((one) => one.id === id);
    return last ?? { ...newConversation("", Date.now()), id: here ?? newId() };
  }

  #open(conversation: Conversation): Sheet {
    const known = this.#opened.get(conversation.id);
    if (known) return known;
    const sheet = new Sheet(conversation, (data) => this.#keep(data));
    this.#opened.set(sheet.id, sheet);
    return sheet;
  }

  /** A pane that nobody chose a model for asks the usual one, as soon as it is known. */
  #fill(): void {
    for (const pane of this.sheet.panes) pane.endpoint ||= this.usual;
  }

  #show(sheet: Sheet): void {
    this.sheet.save();
    this.sheet = sheet;
    this.#fill();
    write(`conversation.${this.user}`, sheet.id);
    writeTab(`conversation.${this.user}`, sheet.id);
  }

  #keep(data: Conversation): void {
    this.conversations = [data, ...this.conversations.filter((one) => one.id !== data.id)];
    const asked = data.panes[0]?.endpoint;
    if (asked && data.id === this.sheet.id) write(`endpoint.${this.user}`, asked);
    this.#keeper?.save(data).then(
      () => (this.unsaved = false),
      () => (this.unsaved = true),
    );
  }
}

let current: Workbench | null = null;
let owner = "";

/** The user's; another user on the same page gets another. */
export function workbench(user: string): Workbench {
  if (!current || owner !== user) {
    current?.stop();
    current = new Workbench(user);
    owner = user;
  }
  return current;
}
