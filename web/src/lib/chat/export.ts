// A conversation as a file, and the request that would get its last answer again.  Pure.
import { isObject, parsed, type Json } from "../json";
import { bodyOf } from "./request";
import { sound } from "./sound";
import type { Conversation, Message, PaneData } from "./types";
import { path } from "./tree";

/** Everything of a conversation, readable by `fromJson`. */
export function toJson(conversation: Conversation): string {
  return JSON.stringify({ tesela: "conversation", version: 1, conversation }, null, 2) + "\n";
}

/** Null for a text that is none of ours. */
export function fromJson(text: string): Conversation | null {
  const found = parsed(text);
  return isObject(found) && found["tesela"] === "conversation" ? sound(found["conversation"]) : null;
}

/** What would be sent to get the last answer again. */
export function lastRequest(pane: PaneData): Json {
  const shown = path(pane.messages, pane.leaf);
  const end = shown.at(-1)?.role === "assistant" ? shown.length - 1 : shown.length;
  return bodyOf(shown.slice(0, end) as Message[], pane.settings, false);
}
