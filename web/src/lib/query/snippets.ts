// The request of the editor as code for each client.  Pure: a body in, a text out that runs as it is with DATABRICKS_HOST
// and DATABRICKS_TOKEN set.
import { pythonOf, shellQuoted, sqlText } from "../code";
import { isObject, type Json } from "../json";

export type Task = "chat" | "completions" | "embeddings" | "responses" | "";
export const CLIENTS = ["openai", "databricks", "mlflow", "langchain"] as const;
export type Client = (typeof CLIENTS)[number];

/** Linux takes no argument of a command above 128 KiB, and a picture makes a body longer. */
const LONGEST_ARGUMENT = 60_000;

export function curl(endpoint: string, body: Json): string {
  const text = JSON.stringify(body, null, 2);
  // A line of JSON.stringify begins with a space or a bracket, so that none of them ends the text.
  const data = text.length > LONGEST_ARGUMENT ? `  --data-binary @- <<'JSON'\n${text}\nJSON` : `  -d ${shellQuoted(text)}`;
  return [
    `curl -sS${body["stream"] === true ? "N" : ""} --fail-with-body \\`,
    '  -H "Authorization: Bearer $DATABRICKS_TOKEN" -H "Content-Type: application/json" \\',
    `  "$DATABRICKS_HOST/serving-endpoints/${encodeURIComponent(endpoint)}/invocations" \\`,
    data,
    "",
  ].join("\n");
}

export function python(client: Client, endpoint: string, task: Task, body: Json): string {
  return { openai, databricks, mlflow, langchain }[client](endpoint, task, body);
}

/** The messages of a body, whatever was typed there: what is no object is none. */
function messagesOf(body: Json): Json[] {
  const found: unknown[] = Array.isArray(body["messages"]) ? body["messages"] : [];
  return found.filter(isObject);
}
const isList = (value: unknown): value is unknown[] => Array.isArray(value);

/** Keyword arguments, one in a line. */
function keywords(body: Json, indent = 4): string[] {
  return Object.entries(body).map(([name, value]) => `${" ".repeat(indent)}${name}=${pythonOf(value, indent)},`);
}
const isName = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !RESERVED.has(name);
const RESERVED = new Set(["from", "class", "global", "import", "None", "True", "False", "async", "await", "lambda", "model"]);

/** Fields that a client has a name for, and the others. */
function split(body: Json, known: ReadonlySet<string>): [Json, Json] {
  const mine: Json = {};
  const others: Json = {};
  for (const [name, value] of Object.entries(body)) (known.has(name) && isName(name) ? mine : others)[name] = value;
  return [mine, others];
}

const OPENAI: Record<string, [string, string[]]> = {
  chat: ["chat.completions", [
    "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "stop", "stream", "stream_options", "tools",
    "tool_choice", "parallel_tool_calls", "response_format", "seed", "user", "logprobs", "top_logprobs", "presence_penalty",
    "frequency_penalty", "logit_bias", "reasoning_effort", "metadata",
  ]],
  completions: ["completions", [
    "prompt", "max_tokens", "temperature", "top_p", "n", "stop", "stream", "stream_options", "seed", "user", "logprobs", "echo",
    "suffix", "best_of", "presence_penalty", "frequency_penalty",
  ]],
  embeddings: ["embeddings", ["input", "dimensions", "encoding_format", "user"]],
  responses: ["responses", ["input", "instructions", "max_output_tokens", "temperature", "top_p", "stream", "tools", "tool_choice", "text", "reasoning"]],
}; // prettier-ignore

function openai(endpoint: string, task: Task, body: Json): string {
  const [method, fields] = OPENAI[task] ?? OPENAI["chat"]!;
  if (task === "") {
    // A model of no task of OpenAI's: the client's own connection takes any body.
    return [
      "import os", "", "from openai import OpenAI", "",
      "client = OpenAI(",
      '    api_key=os.environ["DATABRICKS_TOKEN"],',
      '    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",',
      ")",
      `print(client.post(${pythonOf(`/${encodeURIComponent(endpoint)}/invocations`)}, cast_to=object, body=${pythonOf(body)}))`, "",
    ].join("\n"); // prettier-ignore
  }
  const [mine, others] = split(body, new Set(fields));
  const extra = Object.keys(others).length ? [`    extra_body=${pythonOf(others, 4)},`] : [];
  const show = body["stream"] === true ? ["for event in answer:", "    print(event)"] : ["print(answer)"];
  return [
    "import os", "", "from openai import OpenAI", "",
    "client = OpenAI(",
    '    api_key=os.environ["DATABRICKS_TOKEN"],',
    '    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",',
    ")",
    `answer = client.${method}.create(`,
    `    model=${pythonOf(endpoint)},`,
    ...keywords(mine), ...extra,
    ")", ...show, "",
  ].join("\n"); // prettier-ignore
}

const SDK_ROLES = new Set(["system", "user", "assistant"]);
const SDK = new Set(["input", "max_tokens", "n", "prompt", "stop", "stream", "temperature"]);

function databricks(endpoint: string, task: Task, body: Json): string {
  const messages = body["messages"];
  const plain =
    isList(messages) &&
    messages.length === messagesOf(body).length &&
    messagesOf(body).every(
      ({ role, content, ...others }) => typeof content === "string" && SDK_ROLES.has(String(role)) && !Object.keys(others).length,
    );
  const { messages: _, ...rest } = body;
  const fits = Object.keys(rest).every((key) => SDK.has(key)) && body["stream"] !== true;
  const stop = body["stop"];
  const arrays = stop === undefined || Array.isArray(stop);
  if (fits && arrays && (plain || (task !== "chat" && messages === undefined))) {
    const lines = plain
      ? [
          "    messages=[",
          ...messagesOf(body).map(
            (one) =>
              `        ChatMessage(role=ChatMessageRole.${String(one["role"]).toUpperCase()}, content=${pythonOf(one["content"])}),`,
          ),
          "    ],",
        ]
      : [];
    return [
      "from databricks.sdk import WorkspaceClient",
      ...(plain ? ["from databricks.sdk.service.serving import ChatMessage, ChatMessageRole"] : []),
      "", "w = WorkspaceClient()",
      "answer = w.serving_endpoints.query(",
      `    name=${pythonOf(endpoint)},`,
      ...lines, ...keywords(rest),
      ")", "print(answer.as_dict())", "",
    ].join("\n"); // prettier-ignore
  }
  // What `query` has no argument for goes through the SDK's own connection, which signs in the same way.
  const path = `/serving-endpoints/${encodeURIComponent(endpoint)}/invocations`;
  if (body["stream"] === true) {
    return [
      "from databricks.sdk import WorkspaceClient", "", "w = WorkspaceClient()",
      `answer = w.api_client.do("POST", ${pythonOf(path)}, raw=True, body=${pythonOf(body)})`,
      'print(answer["contents"].read().decode())', "",
    ].join("\n"); // prettier-ignore
  }
  return [
    "from databricks.sdk import WorkspaceClient", "", "w = WorkspaceClient()",
    `answer = w.api_client.do("POST", ${pythonOf(path)}, body=${pythonOf(body)})`,
    "print(answer)", "",
  ].join("\n"); // prettier-ignore
}

function mlflow(endpoint: string, _task: Task, body: Json): string {
  const stream = body["stream"] === true;
  const { stream: _, ...rest } = body;
  const call = stream ? "predict_stream" : "predict";
  const show = stream ? ["for chunk in answer:", "    print(chunk)"] : ["print(answer)"];
  return [
    "from mlflow.deployments import get_deploy_client", "",
    'client = get_deploy_client("databricks")',
    `answer = client.${call}(`,
    `    endpoint=${pythonOf(endpoint)},`,
    `    inputs=${pythonOf(stream ? rest : body, 4)},`,
    ")", ...show, "",
  ].join("\n"); // prettier-ignore
}

const CHAT_ROLES: Record<string, string> = { system: "system", user: "human", assistant: "ai" };

function langchain(endpoint: string, task: Task, body: Json): string {
  if (task === "embeddings") {
    const input = Array.isArray(body["input"]) ? body["input"] : [body["input"]];
    return [
      "from databricks_langchain import DatabricksEmbeddings", "",
      `embeddings = DatabricksEmbeddings(endpoint=${pythonOf(endpoint)})`,
      `print(embeddings.embed_documents(${pythonOf(input)}))`, "",
    ].join("\n"); // prettier-ignore
  }
  const { messages, stream, temperature, max_tokens, stream_options: _, ...rest } = body;
  const list = isList(messages) ? messagesOf(body) : [{ role: "user", content: body["prompt"] ?? "" }];
  delete rest["prompt"];
  const made: Json = {};
  if (temperature !== undefined) made["temperature"] = temperature;
  if (max_tokens !== undefined) made["max_tokens"] = max_tokens;
  // LangChain hands these on as arguments of OpenAI's client, which refuses names that it does not know.
  const [mine, others] = split(rest, new Set(OPENAI["chat"]![1]));
  const handed = Object.keys(others).length ? { ...mine, extra_body: others } : mine;
  const extra = Object.keys(handed).length ? [`    extra_params=${pythonOf(handed, 4)},`] : [];
  const simple = list.every(
    ({ role, content, ...others }) => typeof content === "string" && String(role) in CHAT_ROLES && !Object.keys(others).length,
  );
  const said = simple
    ? `[\n${list.map((one) => `    (${pythonOf(CHAT_ROLES[String(one["role"])])}, ${pythonOf(one["content"])}),\n`).join("")}]`
    : pythonOf(list);
  const show = stream === true
    ? [`for chunk in chat.stream(${said}):`, '    print(chunk.content, end="", flush=True)', "print()"]
    : [`print(chat.invoke(${said}))`]; // prettier-ignore
  return [
    "from databricks_langchain import ChatDatabricks", "",
    "chat = ChatDatabricks(",
    `    endpoint=${pythonOf(endpoint)},`,
    ...keywords(made), ...extra,
    ")", ...show, "",
  ].join("\n"); // prettier-ignore
}

/** Fields of a body that a client cannot send, in the order in which they were typed. */
export function leftOut(client: Client | "sql", task: Task, body: Json): string[] {
  const names = Object.keys(body).filter((name) => body[name] !== null);
  if (client === "langchain" && task === "embeddings") return names.filter((name) => name !== "input");
  if (client !== "sql") return [];
  const sent = task === "embeddings" ? ["input"] : [task === "completions" ? "prompt" : "messages", "response_format", ...PARAMETERS];
  return names.filter((name) => name !== "stream" && !sent.includes(name));
}

export type Lack = "langchain_completions" | "sql_messages" | "sql_stream" | "fields";

/** Why a client cannot send all of a body; empty when it can. */
export function missing(client: Client | "sql", task: Task, body: Json): Lack[] {
  const out: Lack[] = [];
  if (client === "langchain" && task === "completions") out.push("langchain_completions");
  if (client === "sql" && task === "chat" && !simplePrompt(body)) out.push("sql_messages");
  if (client === "sql" && body["stream"] === true) out.push("sql_stream");
  if (leftOut(client, task, body).length) out.push("fields");
  return out;
}

/** ai_query takes one prompt: the text of the last message of the user. */
function simplePrompt(body: Json): boolean {
  const [first, ...others] = messagesOf(body);
  return first?.["role"] === "user" && typeof first["content"] === "string" && !others.length;
}

function sqlValue(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "boolean") return value ? "TRUE" : "FALSE";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return sqlText(value);
  if (Array.isArray(value)) return `array(${value.map(sqlValue).join(", ")})`;
  return `named_struct(${Object.entries(value as Json).map(([key, one]) => `${sqlText(key)}, ${sqlValue(one)}`).join(", ")})`;
}

/** Fields that `modelParameters` of ai_query takes.  https://docs.databricks.com/en/sql/language-manual/functions/ai_query.html */
const PARAMETERS = ["max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "n", "presence_penalty", "frequency_penalty"];

export function sql(endpoint: string, task: Task, body: Json): string {
  const name = sqlText(endpoint);
  if (task === "embeddings") {
    return `SELECT text, ai_query(${name}, text) AS embedding\nFROM VALUES ${rows(body["input"])} AS inputs(text)\n`;
  }
  const known = PARAMETERS.filter((key) => body[key] !== undefined && body[key] !== null);
  const parameters = known.length ? `,\n  modelParameters => named_struct(${known.map((key) => `'${key}', ${sqlValue(body[key])}`).join(", ")})` : "";
  const format = body["response_format"];
  const wanted = format ? `,\n  responseFormat => ${sqlText(JSON.stringify(format))}` : "";
  const more = `${parameters}${wanted}`;
  const prompt = body["prompt"];
  if (isList(prompt)) {
    return `SELECT prompt, ai_query(\n  ${name},\n  prompt${more}\n) AS answer\nFROM VALUES ${rows(prompt)} AS prompts(prompt)\n`;
  }
  const said = typeof prompt === "string" ? prompt : contentText(messagesOf(body).findLast((one) => one["role"] === "user")?.["content"]);
  return `SELECT ai_query(\n  ${name},\n  ${sqlText(said)}${more}\n) AS answer\n`;
}

/** One row for each input. */
const rows = (inputs: unknown): string => (isList(inputs) && inputs.length ? inputs : [inputs]).map((one) => `(${sqlValue(one)})`).join(", ");

function contentText(content: unknown): string {
  if (typeof content === "string") return content;
  const parts: unknown[] = isList(content) ? content : [];
  const texts = parts.map((one) => (isObject(one) ? one["text"] : null));
  return texts.filter((one) => typeof one === "string").join("\n");
}
