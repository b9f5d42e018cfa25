// From messages and settings to the body of a request, and what is wrong with settings.  Pure.
// docs/reference/api.md; the field names are OpenAI's.
import { isObject, parsed, type Json } from "../json";
import type { Message, Settings, Tool } from "./types";

/** The body for `/serving-endpoints/{name}/invocations`.  Settings must have passed `problems`. */
export function bodyOf(shown: Message[], settings: Settings, stream = true): Json {
  const body: Json = { messages: messagesOf(shown, settings) };
  for (const name of ["temperature", "top_p", "max_tokens", "seed"] as const) {
    if (settings[name] !== null) body[name] = settings[name];
  }
  const stop = settings.stop.split("\n").filter((one) => one !== "");
  if (stop.length) body["stop"] = stop;
  if (settings.reasoning) body["reasoning_effort"] = settings.reasoning;
  if (settings.tools.length) {
    body["tools"] = settings.tools.map(toolOf);
    if (settings.tool_choice !== "auto") body["tool_choice"] = settings.tool_choice;
  }
  if (settings.format === "json_object") body["response_format"] = { type: "json_object" };
  if (settings.format === "json_schema") {
    body["response_format"] = {
      type: "json_schema",
      json_schema: { name: "answer", schema: JSON.parse(settings.schema) as unknown, strict: true },
    };
  }
  if (stream) {
    body["stream"] = true;
    body["stream_options"] = { include_usage: true };
  }
  return body;
}

function messagesOf(shown: Message[], settings: Settings): Json[] {
  const out: Json[] = settings.system.trim() ? [{ role: "system", content: settings.system }] : [];
  for (const one of shown) {
    // An answer of which nothing came is no part of the conversation.
    if (one.role === "assistant" && !one.content && !one.tool_calls?.length) continue;
    if (one.role === "tool") {
      out.push({ role: "tool", tool_call_id: one.tool_call_id ?? "", content: one.content });
    } else if (one.role === "assistant") {
      const calls = one.tool_calls ?? [];
      const message: Json = { role: "assistant", content: one.content || null };
      if (calls.length) message["tool_calls"] = calls.map(callOf);
      out.push(message);
    } else {
      out.push({ role: "user", content: one.images?.length ? parts(one.content, one.images) : one.content });
    }
  }
  return out;
}

function callOf(call: { id: string; name: string; arguments: string }): Json {
  return { id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } };
}

function parts(text: string, images: string[]): Json[] {
  const pictures = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return text ? [{ type: "text", text }, ...pictures] : pictures;
}

function toolOf(tool: Tool): Json {
  const about: Json = { name: tool.name };
  if (tool.description) about["description"] = tool.description;
  about["parameters"] = tool.parameters.trim() ? (JSON.parse(tool.parameters) as unknown) : { type: "object", properties: {} };
  return { type: "function", function: about };
}

export type Field = "temperature" | "top_p" | "max_tokens" | "seed" | "schema" | `tool.${number}.${"name" | "parameters"}`;
export type Problem = "range" | "whole" | "json" | "object" | "name" | "twice";

const RANGES = { temperature: [0, 2], top_p: [0, 1] } as const;

/** What the server would refuse, by field. */
export function problems(settings: Settings): Partial<Record<Field, Problem>> {
  const out: Partial<Record<Field, Problem>> = {};
  for (const name of ["temperature", "top_p"] as const) {
    const value = settings[name];
    const [least, most] = RANGES[name];
    if (value !== null && !(value >= least && value <= most)) out[name] = "range";
  }
  if (settings.max_tokens !== null && !(Number.isInteger(settings.max_tokens) && settings.max_tokens > 0)) {
    out.max_tokens = "whole";
  }
  if (settings.seed !== null && !Number.isInteger(settings.seed)) out.seed = "whole";
  if (settings.format === "json_schema") {
    const found = objectProblem(settings.schema);
    if (found) out.schema = found;
  }
  settings.tools.forEach((tool, at) => {
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(tool.name)) out[`tool.${at}.name`] = "name";
    else if (settings.tools.findIndex((one) => one.name === tool.name) !== at) out[`tool.${at}.name`] = "twice";
    const found = tool.parameters.trim() ? objectProblem(tool.parameters) : null;
    if (found) out[`tool.${at}.parameters`] = found;
  });
  return out;
}

export function objectProblem(text: string): Problem | null {
  const found = parsed(text);
  return found === undefined ? "json" : isObject(found) ? null : "object";
}
