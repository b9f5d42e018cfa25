// Snippets and schemas without a browser.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { json } from "@codemirror/lang-json";
import { EditorState } from "@codemirror/state";
import { describe, expect, it } from "vitest";
import { at, check, position, requestSchema } from "../src/lib/query/schema";
import { sqlText } from "../src/lib/code";
import { parsed, rounded, type Json } from "../src/lib/json";
import { CLIENTS, curl, leftOut, missing, python, sql, type Task } from "../src/lib/query/snippets";
import { picturesIn } from "../src/lib/query/run.svelte";
import { cosine, norm } from "../src/lib/query/vectors";

const user = (content: unknown): Json => ({ role: "user", content });
const WEATHER = { type: "function", function: { name: "f", description: "d", parameters: { type: "object", properties: {} } } };
const SCHEMA = { type: "json_schema", json_schema: { name: "a", strict: true, schema: { type: "object", properties: { x: { type: "string" } }, required: ["x"] } } };

/** What the snippets are made of; tests/clients runs each of them as it is. */
const CASES: Record<string, { endpoint: string; task: Task; body: Json }> = {
  plain: { endpoint: "echo", task: "chat", body: { messages: [user("Hello")], max_tokens: 20, temperature: 0.5 } },
  quotes: { endpoint: "echo", task: "chat", body: { messages: [user("it's \"quoted\" \\ → ñ 🙂\nline $HOME `x` %s {y}")] } },
  stream: { endpoint: "echo", task: "chat", body: { messages: [user("Hello")], stream: true } },
  tools: { endpoint: "polite", task: "chat", body: { messages: [{ role: "system", content: "s" }, user("Hello")], tools: [WEATHER], tool_choice: "auto" } },
  format: { endpoint: "polite", task: "chat", body: { messages: [user("Hello")], response_format: SCHEMA } },
  other: { endpoint: "echo", task: "chat", body: { messages: [user("Hello")], top_k: 5, stop: ["x"], seed: 7 } },
  turns: {
    endpoint: "polite",
    task: "chat",
    body: {
      messages: [
        user("Hello"),
        { role: "assistant", content: null, tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: "{}" } }] },
        { role: "tool", tool_call_id: "c1", content: "it's 20 °C" },
      ],
      tools: [WEATHER],
      parallel_tool_calls: false,
    },
  },
  picture: {
    endpoint: "polite",
    task: "chat",
    body: { messages: [user([{ type: "text", text: "What's this?" }, { type: "image_url", image_url: { url: `data:image/png;base64,${"QUJD".repeat(50_000)}` } }])] },
  },
  prompts: { endpoint: "words", task: "completions", body: { prompt: ["it's", "two\nlines"], max_tokens: 20 } },
  words: { endpoint: "words", task: "completions", body: { prompt: "Hello", max_tokens: 20 } },
  vectors: { endpoint: "vectors", task: "embeddings", body: { input: ["a tile", "it's"] } },
};

describe("snippets", () => {
  it("are written for whoever runs them", () => {
    const folder = process.env["TESELA_SNIPPETS"];
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    for (const [name, { endpoint, task, body }] of Object.entries(CASES)) {
      writeFileSync(join(folder, `${name}.json`), JSON.stringify({ endpoint, task, body }));
      writeFileSync(join(folder, `${name}.sh`), curl(endpoint, body));
      for (const client of CLIENTS) {
        if (!missing(client, task, body).includes("langchain_completions")) writeFileSync(join(folder, `${name}-${client}.py`), python(client, endpoint, task, body));
      }
      writeFileSync(join(folder, `${name}.sql`), sql(endpoint, task, body));
    }
  });

  it("have nothing of a body's text run by a shell or Python", () => {
    const body = CASES["quotes"]!.body;
    expect(curl("echo", body)).toContain("it'\\''s");
    expect(python("openai", "a'\"b", "chat", body)).toContain('model="a\'\\"b"');
    expect(sqlText("it's \\ \n")).toBe("'it\\'s \\\\ \\n'");
  });

  it("put what a client has no name for where it is sent all the same", () => {
    const text = python("openai", "e", "chat", { messages: [], top_k: 5, "strange-name": 1 });
    expect(text).toContain("extra_body={");
    expect(text).toContain('"strange-name": 1');
    expect(python("databricks", "e", "chat", { messages: [user("x")], top_k: 5 })).toContain("api_client.do(");
    expect(python("databricks", "e", "chat", { messages: [user("x")], max_tokens: 5 })).toContain("ChatMessageRole.USER");
  });

  it("say what cannot be sent", () => {
    expect(missing("sql", "chat", { messages: [user("a"), user("b")] })).toEqual(["sql_messages"]);
    expect(missing("sql", "chat", { messages: [user("a")], tools: [], stream: true })).toEqual(["sql_stream", "fields"]);
    expect(leftOut("sql", "chat", { messages: [user("a")], tools: [], stream: true, seed: 1 })).toEqual(["tools"]);
    expect(missing("langchain", "completions", { prompt: "x" })).toEqual(["langchain_completions"]);
    expect(leftOut("langchain", "embeddings", { input: "x", dimensions: 3 })).toEqual(["dimensions"]);
    expect(missing("openai", "chat", { messages: [] })).toEqual([]);
  });

  it("are made of whatever was typed, and nothing of it becomes code", () => {
    const odd: Json[] = [
      { messages: [null, 5, "x", []] },
      { messages: {} },
      { messages: [{ role: 'user, content="")); import os #', content: "x" }] },
      { messages: [{ role: "tool", content: "x", tool_call_id: "a" }] },
      { messages: [{ role: "user", content: [null, 5, { type: "text" }] }] },
      { prompt: [], input: {}, "a b": null, temperature: 1e999 },
      {},
    ];
    for (const body of odd) {
      for (const task of ["chat", "completions", "embeddings", "responses", ""] as const) {
        for (const client of CLIENTS) {
          const text = python(client, "e", task, body);
          expect(text).not.toContain("ChatMessageRole.TOOL");
          expect(text).not.toMatch(/^[^"]*import os #/im);
          expect(text).not.toContain("Infinity");
          missing(client, task, body);
        }
        expect(sql("e", task, body)).toContain("ai_query(");
        missing("sql", task, body);
      }
    }
  });

  it("give a long body to curl by its input, for no argument may be that long", () => {
    const text = curl("polite", CASES["picture"]!.body);
    expect(text).toContain("--data-binary @- <<'JSON'\n{");
    expect(text.endsWith("}\nJSON\n")).toBe(true);
  });
});

describe("schemas", () => {
  const root = requestSchema({
    paths: { "/x": { post: { requestBody: { content: { "application/json": { schema: { $ref: "#/components/schemas/R" } } } } } } },
    components: { schemas: { R: { type: "object", required: ["messages"], properties: { messages: { type: "array", items: { $ref: "#/components/schemas/M" } }, temperature: { type: "number", maximum: 2 } } }, M: { type: "object", properties: { role: { type: "string", enum: ["user"] } } } } },
  })!;

  it("are found at each place", () => {
    expect(at(root, ["messages", 0, "role"])).toMatchObject({ enum: ["user"] });
    expect(at(root, ["nothing"])).toBeNull();
    expect(requestSchema({})).toBeNull();
    expect(requestSchema(null)).toBeNull();
  });
  it("object to what is wrong, at its place", () => {
    const text = '{"messages": [{"role": "x"}], "temperature": 9}';
    const found = check(root, JSON.parse(text));
    expect(found.map((one) => one.pointer).sort()).toEqual(["#/messages/0/role", "#/temperature"]);
    const state = EditorState.create({ doc: text, extensions: [json()] });
    expect(state.sliceDoc(...(Object.values(position(state, "#/temperature")) as [number, number]))).toBe("9");
    expect(state.sliceDoc(...(Object.values(position(state, "#/messages/0/role")) as [number, number]))).toBe('"x"');
  });
});

describe("values of no type that they may have", () => {
  it("are told once, with all types", () => {
    const schema = { type: "object", properties: { content: { anyOf: [{ type: "string" }, { type: "array" }, { type: "null" }] } } };
    expect(check(schema, { content: 5 })).toEqual([
      { pointer: "#/content", message: 'Instance type "number" is invalid. Expected "string" or "array" or "null".' },
    ]);
  });
});

describe("pictures of an answer", () => {
  const png = "data:image/png;base64,iVBORw0KGgo=";
  it("are found wherever a provider puts them", () => {
    expect(picturesIn({ choices: [{ message: { content: [{ type: "image_url", image_url: { url: png } }], images: [png] } }] })).toEqual([png, png]);
    expect(picturesIn({ data: [{ b64_json: "iVBORw0KGgo=" }] })).toEqual([png]);
  });
  it("are of kinds that run nothing, and of no other host", () => {
    expect(picturesIn(["data:image/svg+xml;base64,PHN2Zz4=", "https://example.com/a.png", `${png}" onerror="x`, null, 5])).toEqual([]);
  });
});

describe("vectors", () => {
  it("have norms and angles", () => {
    expect(norm([3, 4])).toBe(5);
    expect(cosine([1, 0], [0, 1])).toBe(0);
    expect(cosine([0, 0], [0, 0])).toBe(0);
  });
});

describe("numbers", () => {
  it("that a browser cannot hold are told", () => {
    expect(rounded(parsed('{"seed": 9007199254740993}'))).toBe(true);
    expect(rounded(parsed('{"seeds": [1, {"n": -9007199254740993}]}'))).toBe(true);
    expect(rounded(parsed('{"seed": 9007199254740991, "t": 0.1}'))).toBe(false);
    expect(rounded(parsed('{"text": "9007199254740993"}'))).toBe(false);
    expect(rounded(parsed("{"))).toBe(false);
  });
});
