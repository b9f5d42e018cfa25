// What a conversation is made of.  Plain data: it is kept in the browser and exported as it is.
import { newId } from "../ids";

/** A function that the model may call; `parameters` is a JSON schema as text, as it was typed. */
export interface Tool {
  name: string;
  description: string;
  parameters: string;
}
export type Format = "text" | "json_object" | "json_schema";
/** What a pane asks for beside its messages.  What is null or empty is not sent: the server's default holds. */
export interface Settings {
  system: string;
  temperature: number | null;
  top_p: number | null;
  max_tokens: number | null;
  seed: number | null;
  /** One in a line. */
  stop: string;
  reasoning: "" | "low" | "medium" | "high";
  tools: Tool[];
  tool_choice: "auto" | "required" | "none";
  format: Format;
  schema: string;
}
export const DEFAULTS: Settings = {
  system: "",
  temperature: null,
  top_p: null,
  max_tokens: null,
  seed: null,
  stop: "",
  reasoning: "",
  tools: [],
  tool_choice: "auto",
  format: "text",
  schema: "",
};

export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}
export interface Usage {
  prompt: number;
  completion: number;
  reasoning?: number;
}
/** Times of one answer in milliseconds since it was asked for. */
export interface Metrics {
  first_ms: number | null;
  total_ms: number;
  usage: Usage | null;
  /** The served entity or model that answered. */
  model: string;
  request_id: string;
}
export interface Failure {
  status: number;
  code: string;
  message: string;
  request_id: string;
}
/** One message.  `parent` is the one before it, null for a first one; several with one parent are versions. */
export interface Message {
  id: string;
  parent: string | null;
  role: "user" | "assistant" | "tool";
  content: string;
  /** Data URLs. */
  images?: string[];
  reasoning?: string;
  refusal?: string;
  tool_calls?: ToolCall[];
  tool_call_id?: string;
  metrics?: Metrics;
  failure?: Failure;
  /** Why it ended: the model's word, or `stopped` when somebody stopped it. */
  finish?: string;
  at: number;
}
/** One model's side of a conversation: all its messages, and the last one of the versions that are shown. */
export interface PaneData {
  id: string;
  endpoint: string;
  settings: Settings;
  messages: Message[];
  leaf: string | null;
}
export interface Conversation {
  id: string;
  title: string;
  created: number;
  updated: number;
  sync: boolean;
  panes: PaneData[];
}

export function newPane(endpoint: string, settings: Settings = DEFAULTS): PaneData {
  return { id: newId(), endpoint, settings: structuredClone(settings), messages: [], leaf: null };
}

export function newConversation(endpoint: string, now: number): Conversation {
  return { id: newId(), title: "", created: now, updated: now, sync: true, panes: [newPane(endpoint)] };
}
