// Conversations without a browser: answers put together, versions, requests, exports.
import { describe, expect, it } from "vitest";
import { Answer, cost, speed } from "../src/lib/chat/answer";
import { fromJson, lastRequest, toJson } from "../src/lib/chat/export";
import { pythonOf, shellQuoted } from "../src/lib/code";
import { curl, python } from "../src/lib/query/snippets";
import { bodyOf, problems } from "../src/lib/chat/request";
import { leafBelow, openCalls, path, versions, without } from "../src/lib/chat/tree";
import { DEFAULTS, newConversation, type Message } from "../src/lib/chat/types";
import { Blocks } from "../src/lib/markdown/blocks";

const message = (id: string, parent: string | null, role: Message["role"] = "user", more: Partial<Message> = {}): Message => ({
  id, parent, role, content: id, at: 0, ...more,
}); // prettier-ignore

describe("Answer", () => {
  const chunk = (delta: object, more: object = {}) => JSON.stringify({ model: "m", choices: [{ delta, ...more }] });

  it("puts text, reasoning and usage together", () => {
    const answer = new Answer();
    answer.push(chunk({ role: "assistant", content: "" }));
    expect(answer.begun).toBe(false);
    answer.push(chunk({ reasoning_content: "hm" }));
    answer.push(chunk({ content: "He" }));
    answer.push(chunk({ content: [{ type: "reasoning", summary: [{ text: "m" }] }, { type: "text", text: "llo" }] }));
    answer.push(chunk({}, { finish_reason: "stop" }));
    answer.push(JSON.stringify({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, completion_tokens_details: { reasoning_tokens: 1 } } }));
    answer.push("[DONE]");
    expect(answer).toMatchObject({
      content: "Hello", reasoning: "hmm", finish: "stop", done: true, model: "m", usage: { prompt: 3, completion: 2, reasoning: 1 },
    }); // prettier-ignore
  });

  it("puts calls together that come in pieces, each in its place", () => {
    const answer = new Answer();
    answer.push(chunk({ tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: '{"x"' } }] }));
    answer.push(chunk({ tool_calls: [{ index: 1, id: "b", function: { name: "g", arguments: "{}" } }] }));
    answer.push(chunk({ tool_calls: [{ index: 0, function: { arguments: ": 1}" } }] }));
    expect(answer.calls).toEqual([
      { id: "a", name: "f", arguments: '{"x": 1}' },
      { id: "b", name: "g", arguments: "{}" },
    ]);
  });

  it.each([
    ['{"error": {"message": "no", "type": "t", "code": "C"}}', "C", "no"],
    ['{"error_code": "X", "message": "no"}', "X", "no"],
    ["{broken", "BROKEN_EVENT", "{broken"],
  ])("tells the failure in %s", (event, code, text) => {
    const answer = new Answer();
    answer.push(event);
    expect(answer.failure).toMatchObject({ code, message: text });
  });

  it.each(["null", "[]", "7", '"x"', '{"choices": 7}', '{"choices": [null]}', '{"choices": [{"delta": 3}]}', '{"usage": {"prompt_tokens": "x"}}'])(
    "survives %s",
    (event) => {
      const answer = new Answer();
      answer.push(event);
      expect(answer.content).toBe("");
    },
  );

  it("knows speed and cost, or that it does not", () => {
    const usage = { prompt: 1_000_000, completion: 101 };
    expect(speed({ first_ms: 500, total_ms: 1500, usage })).toBe(100);
    expect(speed({ first_ms: null, total_ms: 1500, usage })).toBeNull();
    expect(cost(usage, [{ key: "price_input", value: "2.5" }, { key: "price_output", value: "10" }])).toBeCloseTo(2.50101, 5);
    expect(cost(usage, [{ key: "team", value: "x" }])).toBeNull();
    expect(cost(null, [{ key: "price_input", value: "1" }])).toBeNull();
  });
});

describe("versions", () => {
  const tree = [message("q", null), message("a1", "q", "assistant"), message("a2", "q", "assistant"), message("q2", "a2"), message("b", "q2", "assistant")];

  it("shows the way to the leaf", () => {
    expect(path(tree, "b").map((one) => one.id)).toEqual(["q", "a2", "q2", "b"]);
    expect(path(tree, "a1").map((one) => one.id)).toEqual(["q", "a1"]);
    expect(path(tree, "gone")).toEqual([]);
    expect(path([message("x", "x")], "x")).toHaveLength(1);
  });

  it("finds those beside a message, and the newest below", () => {
    expect(versions(tree, tree[1]!).map((one) => one.id)).toEqual(["a1", "a2"]);
    expect(leafBelow(tree, "a2")).toBe("b");
    expect(leafBelow(tree, "q")).toBe("b");
    expect(without(tree, "a2").map((one) => one.id)).toEqual(["q", "a1"]);
  });

  it("knows which calls wait for a result", () => {
    const calls = [{ id: "1", name: "f", arguments: "" }, { id: "2", name: "g", arguments: "" }];
    const shown = [message("q", null), message("a", "q", "assistant", { tool_calls: calls }), message("t", "a", "tool", { tool_call_id: "1" })];
    expect(openCalls(shown).map((one) => one.id)).toEqual(["2"]);
    expect(openCalls([])).toEqual([]);
  });
});

describe("requests", () => {
  it("send what was set and nothing else", () => {
    expect(bodyOf([message("hi", null)], DEFAULTS, false)).toEqual({ messages: [{ role: "user", content: "hi" }] });
    const settings = { ...DEFAULTS, system: "Be brief", temperature: 0, stop: "A\n\nB", reasoning: "low" as const, seed: 0 };
    expect(bodyOf([message("hi", null)], settings)).toEqual({
      messages: [{ role: "system", content: "Be brief" }, { role: "user", content: "hi" }],
      temperature: 0, seed: 0, stop: ["A", "B"], reasoning_effort: "low", stream: true, stream_options: { include_usage: true },
    }); // prettier-ignore
  });

  it("carry images, calls and their results, and leave empty answers out", () => {
    const call = { id: "1", name: "f", arguments: "{}" };
    const shown = [
      message("look", null, "user", { images: ["data:x"] }),
      message("", "look", "assistant", { content: "" }),
      message("a", "", "assistant", { content: "", tool_calls: [call] }),
      message("t", "a", "tool", { content: "42", tool_call_id: "1" }),
    ];
    expect(bodyOf(shown, DEFAULTS, false)["messages"]).toEqual([
      { role: "user", content: [{ type: "text", text: "look" }, { type: "image_url", image_url: { url: "data:x" } }] },
      { role: "assistant", content: null, tool_calls: [{ id: "1", type: "function", function: { name: "f", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "1", content: "42" },
    ]);
  });

  it("say what would be refused", () => {
    const tool = { name: "f", description: "", parameters: "[" };
    expect(problems({ ...DEFAULTS, temperature: 3, top_p: 0.5, max_tokens: 0.5, format: "json_schema", schema: "[]", tools: [tool, tool] })).toEqual({
      temperature: "range", max_tokens: "whole", schema: "object", "tool.0.parameters": "json", "tool.1.name": "twice", "tool.1.parameters": "json",
    }); // prettier-ignore
  });
});

describe("exports", () => {
  const conversation = newConversation("e", 1);
  conversation.panes[0]!.messages = [message("it's \"q\" → ñ\n$HOME", null), message("a", "it's \"q\" → ñ\n$HOME", "assistant")];
  conversation.panes[0]!.leaf = "a";

  it("come back from JSON", () => {
    expect(fromJson(toJson(conversation))).toEqual(conversation);
    for (const bad of ["", "{}", "[]", '{"tesela": "conversation"}', '{"tesela": "conversation", "conversation": {}}']) expect(fromJson(bad)).toBeNull();
  });

  it("take nothing from a file that the page could not show", () => {
    const file = (panes: unknown): string => JSON.stringify({ tesela: "conversation", version: 1, conversation: { ...conversation, panes } });
    const pane = conversation.panes[0]!;
    const said = pane.messages[0]!;
    const wrong: unknown[] = [
      [], [{}], [null], [{ ...pane, messages: null }], [{ ...pane, messages: [{}] }], [{ ...pane, messages: [{ ...said, content: 1 }] }],
      [{ ...pane, messages: [{ ...said, role: "root" }] }], [{ ...pane, messages: [{ ...said, parent: 1 }] }], [{ ...pane, endpoint: 7 }],
      [{ ...pane, messages: [{ ...said, images: ["https://evil.example/x.png"] }] }], [{ ...pane, messages: [{ ...said, tool_calls: [{}] }] }],
      [{ ...pane, messages: [{ ...said, metrics: {} }] }], [{ ...pane, messages: [{ ...said, failure: "no" }] }],
      [{ ...pane, settings: { tools: [{}] } }], [{ ...pane, settings: { stop: 1 } }],
    ]; // prettier-ignore
    for (const panes of wrong) expect(fromJson(file(panes)), JSON.stringify(panes)).toBeNull();
    // Settings that an earlier version did not have get their defaults.
    expect(fromJson(file([{ ...pane, settings: {} }]))?.panes[0]?.settings).toEqual(DEFAULTS);
  });

  it("quote what shells and Python would read", () => {
    expect(shellQuoted("it's")).toBe("'it'\\''s'");
    expect(pythonOf({ a: [true, null, 1.5, "x\n"], b: {}, c: [] })).toBe('{\n    "a": [\n        True,\n        None,\n        1.5,\n        "x\\n",\n    ],\n    "b": {},\n    "c": [],\n}');
    expect(curl("echo", lastRequest(conversation.panes[0]!))).toContain("it'\\''s");
    expect(python("openai", "echo", "chat", lastRequest(conversation.panes[0]!))).toContain('"it\'s \\"q\\" → ñ\\n$HOME"');
  });
});

describe("Blocks", () => {
  const TEXT = "# One\n\ntext\nmore\n\n```js\na\n\nb\n```\n\n- x\n\n- y\n  z\n\nend\n\n";

  it("cuts between blocks and not within code and lists", () => {
    const blocks = new Blocks();
    blocks.update(TEXT);
    expect(blocks.blocks.map((one) => one.trim())).toEqual(["# One", "text\nmore", "```js\na\n\nb\n```", "- x\n\n- y\n  z"]);
    expect(blocks.tail.trim()).toBe("end");
  });

  it("is the same however the text grows, and loses nothing", () => {
    const whole = new Blocks();
    whole.update(TEXT);
    const grown = new Blocks();
    for (let end = 0; end <= TEXT.length; end++) grown.update(TEXT.slice(0, end));
    expect(grown.blocks).toEqual(whole.blocks);
    expect(grown.blocks.join("") + grown.tail).toBe(TEXT);
    grown.update("another");
    expect(grown.blocks).toEqual([]);
    expect(grown.tail).toBe("another");
  });
});
