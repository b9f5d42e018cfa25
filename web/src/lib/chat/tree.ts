// Versions: messages are a tree, and what is shown is the way from the first one to a leaf.  Pure.
import type { Message } from "./types";

/** The messages from the first to `leaf`. */
export function path(messages: Message[], leaf: string | null): Message[] {
  const known = new Map(messages.map((one) => [one.id, one]));
  const out: Message[] = [];
  const seen = new Set<string>();
  for (let at = leaf; at !== null && !seen.has(at); ) {
    const message = known.get(at);
    if (!message) break;
    seen.add(at);
    out.push(message);
    at = message.parent;
  }
  return out.reverse();
}

/** The versions of a message, itself included, the oldest first. */
export function versions(messages: Message[], message: Message): Message[] {
  return messages.filter((one) => one.parent === message.parent && one.role === message.role);
}

/** The newest leaf below a message: where to be when that version is chosen. */
export function leafBelow(messages: Message[], id: string): string {
  const children = new Map<string, string>();
  // Later ones replace earlier ones: the newest version wins.
  for (const one of messages) if (one.parent !== null) children.set(one.parent, one.id);
  let at = id;
  for (let next = children.get(at); next !== undefined && next !== id; next = children.get(at)) at = next;
  return at;
}

/** The messages without one and all below it. */
export function without(messages: Message[], id: string): Message[] {
  const gone = new Set([id]);
  // Parents stand before their children.
  for (const one of messages) if (one.parent !== null && gone.has(one.parent)) gone.add(one.id);
  return messages.filter((one) => !gone.has(one.id));
}

/** Calls of tools that nobody has answered, of the last message. */
export function openCalls(shown: Message[]): NonNullable<Message["tool_calls"]> {
  const at = shown.findLastIndex((one) => one.role === "assistant");
  const answered = new Set(shown.slice(at + 1).map((one) => one.tool_call_id));
  return (shown[at]?.tool_calls ?? []).filter((call) => !answered.has(call.id));
}
