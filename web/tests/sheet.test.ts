// A conversation in two windows: what one keeps, the other takes over without losing its own.
import { describe, expect, it, vi } from "vitest";
import { Sheet } from "../src/lib/chat/sheet.svelte";
import { newConversation, type Conversation, type Message } from "../src/lib/chat/types";

const said = (id: string, parent: string | null = null): Message => ({ id, parent, role: "user", content: id, at: 0 });
const ids = (sheet: Sheet): string[] => sheet.panes[0]!.messages.map((one) => one.id);

function withMessages(conversation: Conversation, ...messages: Message[]): Conversation {
  const [pane] = conversation.panes;
  return { ...conversation, updated: conversation.updated + 1, panes: [{ ...pane!, messages, leaf: messages.at(-1)?.id ?? null }] };
}

describe("a sheet", () => {
  it("becomes what another window has kept", () => {
    const start = newConversation("echo", 1);
    const sheet = new Sheet(start, () => undefined);
    sheet.adopt(withMessages(start, said("a"), said("b", "a")));
    expect(ids(sheet)).toEqual(["a", "b"]);
    expect(sheet.panes[0]!.leaf).toBe("b");
  });

  it("keeps what is not kept yet beside it, and keeps both", () => {
    vi.useFakeTimers();
    const start = withMessages(newConversation("echo", 1), said("mine"));
    const kept: Conversation[] = [];
    const sheet = new Sheet(start, (data) => kept.push(data));
    sheet.touch();
    sheet.adopt(withMessages(start, said("theirs")));
    expect(ids(sheet)).toEqual(["theirs", "mine"]);
    expect(sheet.panes[0]!.leaf).toBe("mine");
    vi.runAllTimers();
    vi.useRealTimers();
    expect(kept.at(-1)?.panes[0]?.messages.map((one) => one.id)).toEqual(["theirs", "mine"]);
  });

  it("is not taken back by something older than what it kept", () => {
    const start = withMessages(newConversation("echo", 1), said("a"));
    const sheet = new Sheet(start, () => undefined);
    sheet.touch();
    sheet.save();
    sheet.adopt(withMessages(start));
    expect(ids(sheet)).toEqual(["a"]);
  });
});
