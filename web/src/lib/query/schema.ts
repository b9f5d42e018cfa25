// Completion and checks of a request by the endpoint's own schema (GET …/openapi).  Without one the editor checks the JSON
// alone.
import { completeFromList, type Completion, type CompletionContext, type CompletionSource } from "@codemirror/autocomplete";
import { jsonLanguage } from "@codemirror/lang-json";
import { syntaxTree } from "@codemirror/language";
import { linter, type Diagnostic } from "@codemirror/lint";
import type { EditorState, Extension } from "@codemirror/state";
import { Validator } from "@cfworker/json-schema";
import type { SyntaxNode } from "@lezer/common";
import { isObject, parsed, type Json } from "../json";

export type Schema = Json;

/** The schema of requests in an OpenAPI document, with its references beside it; null when there is none. */
export function requestSchema(openapi: unknown): Schema | null {
  if (!isObject(openapi) || !isObject(openapi["paths"])) return null;
  const post = Object.values(openapi["paths"]).map((one) => (isObject(one) ? one["post"] : null))[0];
  const found = dig(post, ["requestBody", "content", "application/json", "schema"]);
  return isObject(found) ? { ...found, components: openapi["components"] ?? {} } : null;
}

function dig(value: unknown, path: string[]): unknown {
  return path.reduce<unknown>((at, key) => (isObject(at) ? at[key] : undefined), value);
}

/** The schema that holds at a place: names of fields, and numbers for items. */
export function at(root: Schema, path: (string | number)[]): Schema | null {
  let now: Schema | null = resolve(root, root);
  for (const step of path) {
    if (!now) return null;
    const choices: Schema[] = [now, ...alternatives(root, now)];
    const next: unknown = choices
      .map((one) => (typeof step === "number" ? one["items"] : dig(one, ["properties", step])))
      .find((one) => one !== undefined);
    now = isObject(next) ? resolve(root, next) : null;
  }
  return now;
}

function resolve(root: Schema, schema: Schema): Schema {
  const reference = schema["$ref"];
  if (typeof reference !== "string") return schema;
  const found = dig(root, reference.replace(/^#\//, "").split("/"));
  return isObject(found) ? found : schema;
}

function alternatives(root: Schema, schema: Schema): Schema[] {
  const any = [schema["anyOf"], schema["oneOf"]].flatMap((one) => (Array.isArray(one) ? one : []));
  return any.filter(isObject).map((one) => resolve(root, one));
}

/** The place of a node in the text: the path to the object that it is in. */
function pathTo(state: EditorState, node: SyntaxNode): (string | number)[] {
  const out: (string | number)[] = [];
  for (let now: SyntaxNode | null = node; now?.parent; now = now.parent) {
    const parent: SyntaxNode = now.parent;
    if (parent.name === "Property") {
      const name = parent.getChild("PropertyName");
      if (name && now.name !== "PropertyName") out.unshift(text(state, name));
    } else if (parent.name === "Array") {
      let number = 0;
      for (let before = now.prevSibling; before; before = before.prevSibling) if (before.name !== "[" && before.name !== "⚠") number++;
      out.unshift(number);
    }
  }
  return out;
}

function text(state: EditorState, node: SyntaxNode): string {
  const raw = state.sliceDoc(node.from, node.to);
  // What is not written to its end yet is no JSON.
  return String(parsed(raw) ?? raw.replaceAll('"', ""));
}

function source(root: Schema): CompletionSource {
  return (context: CompletionContext) => {
    const node = syntaxTree(context.state).resolveInner(context.pos, -1);
    const word = context.matchBefore(/"?[\w-]*"?/);
    if (!word || (word.from === word.to && !context.explicit)) return null;
    const place = pathTo(context.state, node);
    const inValue = node.parent?.name === "Property" && node.name !== "PropertyName";
    const schema = at(root, place);
    if (!schema) return null;
    const options: Completion[] = inValue ? values(root, schema) : names(root, schema);
    return options.length ? { ...completeFromList(options)(context), from: word.from, options } : null;
  };
}

function names(root: Schema, schema: Schema): Completion[] {
  const all = [schema, ...alternatives(root, schema)].map((one) => one["properties"]).filter(isObject);
  return all.flatMap((properties) =>
    Object.entries(properties).map(([name, about]) => ({
      label: `"${name}"`,
      apply: `"${name}": `,
      type: "property",
      detail: isObject(about) ? kinds(about).join(" | ") : "",
      info: isObject(about) && typeof about["description"] === "string" ? about["description"] : "",
    })),
  );
}

function values(root: Schema, schema: Schema): Completion[] {
  const found = [schema, ...alternatives(root, schema)].flatMap((one): unknown[] =>
    Array.isArray(one["enum"]) ? one["enum"] : kinds(one).includes("boolean") ? [true, false] : [],
  );
  return found.filter((one) => one !== null).map((one) => ({ label: JSON.stringify(one), type: "enum" }));
}

/** The types of a field, but for null, which every field may be. */
function kinds(schema: Schema): string[] {
  const type = schema["type"];
  const all: unknown[] = Array.isArray(type) ? type : type === undefined ? [] : [type];
  return all.map(String).filter((one) => one !== "null");
}

/** Where in the text a place of the document is. */
export function position(state: EditorState, pointer: string): { from: number; to: number } {
  const steps = pointer.replace(/^#\/?/, "").split("/").filter((one) => one !== "").map(decoded);
  let node: SyntaxNode | null = syntaxTree(state).topNode.firstChild;
  for (const step of steps) {
    if (node?.name === "Object") {
      const property: SyntaxNode | undefined = node.getChildren("Property").find((one) => {
        const name = one.getChild("PropertyName");
        return name !== null && text(state, name) === step;
      });
      node = property?.lastChild ?? node;
    } else if (node?.name === "Array") {
      const items: SyntaxNode[] = [];
      for (let child = node.firstChild; child; child = child.nextSibling) if (!["[", "]", ","].includes(child.name)) items.push(child);
      node = items[Number(step)] ?? node;
    }
  }
  return node ? { from: node.from, to: node.to } : { from: 0, to: state.doc.length };
}

const decoded = (step: string): string => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");

/** What a schema says against a document, the most exact of it.  The places are JSON pointers. */
export function check(root: Schema, value: unknown): { pointer: string; message: string }[] {
  const found = new Validator(root, "2020-12", false).validate(value).errors;
  const leaves = found.filter((one) => !GROUPS.has(one.keyword));
  const out = new Map<string, string[]>();
  for (const one of leaves.length ? leaves : found) {
    // A value of no type that it may have is told once, with all of them.
    const messages = out.get(one.instanceLocation) ?? [];
    const expected = one.keyword === "type" ? /Expected (.*?)\.?$/.exec(one.error)?.[1] : undefined;
    const at = messages.findIndex((text) => text.startsWith("Instance type"));
    if (expected !== undefined && at >= 0) messages[at] = messages[at]!.replace(/\.$/, ` or ${expected}.`);
    else if (!messages.includes(one.error)) messages.push(one.error);
    out.set(one.instanceLocation, messages);
  }
  return [...out].flatMap(([pointer, messages]) => messages.map((message) => ({ pointer, message }))).slice(0, 20);
}
const GROUPS = new Set(["properties", "items", "$ref", "anyOf", "oneOf", "allOf", "schema"]);

/** For an editor of requests. */
export function extensions(root: Schema): Extension[] {
  const lint = linter((view): Diagnostic[] => {
    const value = parsed(view.state.doc.toString());
    if (value === undefined) return []; // The JSON itself is judged by another.
    return check(root, value).map((one) => ({ ...position(view.state, one.pointer), severity: "warning", message: one.message }));
  });
  return [jsonLanguage.data.of({ autocomplete: source(root) }), lint];
}
