// Puts an answer together from the chunks of a stream.  Pure: JSON in, the state of the message out.
import { isObject, parsed, textOf as text, type Json } from "../json";
import type { Failure, ToolCall, Usage } from "./types";

/** What has come of an answer so far. */
export class Answer {
  content = "";
  reasoning = "";
  refusal = "";
  calls: ToolCall[] = [];
  usage: Usage | null = null;
  finish = "";
  model = "";
  failure: Failure | null = null;
  done = false;
  #places = new Map<number, ToolCall>();

  /** Whether anything that a person can see has come. */
  get begun(): boolean {
    return this.content !== "" || this.reasoning !== "" || this.refusal !== "" || this.calls.length > 0;
  }

  /** One event's data.  What is no JSON object is a failure of the stream. */
  push(data: string): void {
    if (data.trim() === "[DONE]") {
      this.done = true;
      return;
    }
    const chunk = parsed(data);
    if (chunk === undefined) {
      this.failure = { status: 0, code: "BROKEN_EVENT", message: data.slice(0, 200), request_id: "" };
      return;
    }
    if (!isObject(chunk)) return;
    if (isObject(chunk["error"]) || text(chunk["error_code"])) {
      const error = isObject(chunk["error"]) ? chunk["error"] : chunk;
      const code = text(error["error_code"]) || text(error["code"]) || text(error["type"]);
      this.failure = { status: 0, code, message: text(error["message"]), request_id: "" };
      return;
    }
    this.#take(chunk);
  }

  /** A whole answer that came in one piece. */
  whole(body: unknown): void {
    if (isObject(body)) this.#take(body);
    this.done = true;
  }

  #take(chunk: Json): void {
    this.model ||= text(chunk["model"]);
    if (isObject(chunk["usage"])) this.usage = usageOf(chunk["usage"]);
    const choices = Array.isArray(chunk["choices"]) ? chunk["choices"] : [];
    const choice: unknown = choices[0];
    if (!isObject(choice)) return;
    if (text(choice["finish_reason"])) this.finish = text(choice["finish_reason"]);
    const delta = isObject(choice["delta"]) ? choice["delta"] : choice["message"];
    if (!isObject(delta)) return;
    this.#content(delta["content"]);
    this.reasoning += text(delta["reasoning_content"]) || text(delta["reasoning"]);
    this.refusal += text(delta["refusal"]);
    if (Array.isArray(delta["tool_calls"])) delta["tool_calls"].forEach((one, at) => this.#call(one, at));
  }

  /** A text, or Databricks' list of parts, of which some are reasoning. */
  #content(content: unknown): void {
    if (!Array.isArray(content)) {
      this.content += text(content);
      return;
    }
    for (const part of content) {
      if (!isObject(part)) continue;
      if (part["type"] === "reasoning") {
        const summary = Array.isArray(part["summary"]) ? part["summary"] : [];
        this.reasoning += summary.map((one) => (isObject(one) ? text(one["text"]) : "")).join("");
      } else {
        this.content += text(part["text"]);
      }
    }
  }

  #call(piece: unknown, at: number): void {
    if (!isObject(piece)) return;
    const index = typeof piece["index"] === "number" ? piece["index"] : at;
    const about = isObject(piece["function"]) ? piece["function"] : {};
    let call = this.#places.get(index);
    if (!call) {
      call = { id: text(piece["id"]) || `call_${index}`, name: "", arguments: "" };
      this.#places.set(index, call);
      this.calls.push(call);
    } else if (text(piece["id"])) {
      call.id = text(piece["id"]);
    }
    call.name += text(about["name"]);
    call.arguments += text(about["arguments"]);
  }
}

export function usageOf(usage: Json): Usage | null {
  const count = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? value : 0);
  if (usage["prompt_tokens"] === undefined && usage["completion_tokens"] === undefined) return null;
  const details = usage["completion_tokens_details"];
  const thought = isObject(details) ? count(details["reasoning_tokens"]) : 0;
  return {
    prompt: count(usage["prompt_tokens"]),
    completion: count(usage["completion_tokens"]),
    ...(thought ? { reasoning: thought } : {}),
  };
}

/** An answer that came all at once has no speed. */
const LEAST_MS = 20;

/** Tokens a second after the first one; null where that says nothing. */
export function speed(metrics: { first_ms: number | null; total_ms: number; usage: Usage | null }): number | null {
  const { first_ms, total_ms, usage } = metrics;
  if (!usage || first_ms === null || usage.completion < 2 || total_ms - first_ms < LEAST_MS) return null;
  return ((usage.completion - 1) * 1000) / (total_ms - first_ms);
}

/** Dollars, from the endpoint's tags `price_input` and `price_output`, dollars for a million tokens. */
export function cost(usage: Usage | null, tags: { key: string; value?: string }[] = []): number | null {
  const price = (key: string): number => Number.parseFloat(tags.find((one) => one.key === key)?.value ?? "");
  const [input, output] = [price("price_input"), price("price_output")];
  if (!usage || (Number.isNaN(input) && Number.isNaN(output))) return null;
  return (usage.prompt * (input || 0) + usage.completion * (output || 0)) / 1e6;
}
