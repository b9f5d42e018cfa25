// The form of an endpoint, and the request that it stands for.  Pure, both ways.
import type { Endpoint, Entity } from "../endpoints";
import { routeName } from "./overview";
import table from "./providers.json";

export interface Provider {
  config: string;
  /** Where the key goes, `a.b` for one inside another object; empty for none. */
  key: string;
  fields: string[];
  required: string[];
}
export const PROVIDERS: Record<string, Provider> = table;
export const TASKS = ["llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings"];

export interface EntityForm {
  name: string;
  kind: "external" | "local";
  provider: string;
  task: string;
  model: string;
  /** A key as it is, or `{{secrets/scope/key}}`. */
  key: string;
  fields: Record<string, string>;
  percentage: number;
  /** What the form does not know and must not lose. */
  rest: Record<string, unknown>;
}
export interface Form {
  name: string;
  description: string;
  entities: EntityForm[];
  tags: { key: string; value: string }[];
  fallback: boolean;
}

export function newEntity(): EntityForm {
  return {
    name: "", kind: "external", provider: "openai", task: "llm/v1/chat", model: "", key: "", fields: {}, percentage: 0, rest: {},
  }; // prettier-ignore
}

export function newForm(): Form {
  return { name: "", description: "", entities: [{ ...newEntity(), percentage: 100 }], tags: [], fallback: false };
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const SECRET = /^\{\{secrets\/[^{}]+\}\}$/;

/** A served entity as the API wants it.  Its name is left out when it was left out. */
export function toEntity(form: EntityForm): Json {
  const named: Json = form.name.trim() ? { name: form.name.trim() } : {};
  if (form.kind === "local") return { ...named, entity_name: form.model.trim(), ...form.rest };
  const provider = PROVIDERS[form.provider];
  const external: Json = { name: form.model.trim(), provider: form.provider, task: form.task };
  if (provider) {
    const config: Json = { ...(isObject(form.rest["config"]) ? form.rest["config"] : {}) };
    for (const field of provider.fields) if (form.fields[field]?.trim()) config[field] = form.fields[field].trim();
    if (provider.key && form.key) putKey(config, provider.key, form.key);
    if (Object.keys(config).length || !["scripted"].includes(form.provider)) external[provider.config] = config;
  }
  const { config: _, ...rest } = form.rest;
  return { ...named, external_model: external, ...rest };
}

/** A key that is no reference goes where plain ones are sealed. */
function putKey(config: Json, at: string, key: string): void {
  const [outer = "", inner] = at.split(".");
  const name = (field: string) => (SECRET.test(key.trim()) ? field : `${field}_plaintext`);
  if (inner === undefined) config[name(outer)] = key.trim();
  else config[outer] = { [name(inner)]: key.trim() };
}

export function toConfig(form: Form): Json {
  const served_entities = form.entities.map(toEntity);
  if (form.entities.length < 2) return { served_entities };
  const routes = form.entities.map((one) => ({
    served_entity_name: one.name.trim() || one.model.trim(),
    traffic_percentage: one.percentage,
  }));
  return { served_entities, traffic_config: { routes } };
}

/** The body of the request that makes the endpoint. */
export function toCreate(form: Form): Json {
  const body: Json = { name: form.name.trim(), config: toConfig(form) };
  if (form.description.trim()) body["description"] = form.description.trim();
  const tags = toTags(form);
  if (tags.length) body["tags"] = tags;
  if (form.fallback) body["ai_gateway"] = { fallback_config: { enabled: true } };
  return body;
}

export function toTags(form: Pick<Form, "tags">): { key: string; value?: string }[] {
  return form.tags
    .filter((one) => one.key.trim())
    .map((one) => ({ key: one.key.trim(), ...(one.value.trim() ? { value: one.value.trim() } : {}) }));
}

/** The form of an endpoint that is there.  Keys are never told, so they are empty. */
export function ofEndpoint(endpoint: Endpoint): Form {
  const config = endpoint.config?.served_entities?.length ? endpoint.config : endpoint.pending_config;
  const routes = new Map((config?.traffic_config?.routes ?? []).map((one) => [routeName(one), one.traffic_percentage]));
  const entities = config?.served_entities ?? [];
  const gateway = endpoint["ai_gateway"];
  const fallback = isObject(gateway) && isObject(gateway["fallback_config"]) && gateway["fallback_config"]["enabled"] === true;
  return {
    name: endpoint.name,
    description: endpoint.description ?? "",
    tags: (endpoint.tags ?? []).map((one) => ({ key: one.key, value: one.value ?? "" })),
    fallback,
    entities: entities.map((one) => ofEntity(one, routes.get(one.name) ?? (entities.length === 1 ? 100 : 0))),
  };
}

/** What the server says of an entity and is not asked for. */
const TOLD = ["state", "type", "creator", "creation_timestamp", "foundation_model", "name", "entity_name", "external_model"];

export function ofEntity(entity: Entity | Json, percentage: number): EntityForm {
  const rest: Json = Object.fromEntries(Object.entries(entity).filter(([name]) => !TOLD.includes(name)));
  const external = entity["external_model"];
  const named = text(entity["name"]);
  if (!isObject(external)) {
    return { ...newEntity(), name: named, kind: "local", model: text(entity["entity_name"]), percentage, rest };
  }
  const name = text(external["provider"]);
  const provider = PROVIDERS[name];
  const config = provider && isObject(external[provider.config]) ? { ...(external[provider.config] as Json) } : {};
  const fields: Record<string, string> = {};
  for (const field of provider?.fields ?? []) {
    if (field in config) fields[field] = text(config[field]);
    delete config[field];
  }
  const key = provider?.key ? takeKey(config, provider.key) : "";
  return {
    name: named, kind: "external", provider: name, task: text(external["task"]), model: text(external["name"]), key, fields, percentage,
    rest: Object.keys(config).length ? { ...rest, config } : rest,
  }; // prettier-ignore
}

function takeKey(config: Json, at: string): string {
  const [outer = "", inner] = at.split(".");
  const from = inner === undefined ? config : isObject(config[outer]) ? config[outer] : {};
  const field = inner ?? outer;
  const found = text(from[field]) || text(from[`${field}_plaintext`]);
  if (found || inner === undefined) {
    delete config[field];
    delete config[`${field}_plaintext`];
    if (inner !== undefined) delete config[outer];
  }
  return found;
}

/** The form of a request's text that somebody typed; a sentence's reason when it is none. */
export function ofText(typed: string): Form | "json" | "object" {
  let found: unknown;
  try {
    found = JSON.parse(typed);
  } catch {
    return "json";
  }
  if (!isObject(found) || !isObject(found["config"])) return "object";
  const { name, config, ...more } = found;
  return ofEndpoint({ id: "", name: text(name), ...(more as Partial<Endpoint>), config: config as Endpoint["config"] & Json });
}

export function sum(form: Form): number {
  return form.entities.reduce((total, one) => total + one.percentage, 0);
}

/** The part of the form that a message of the API is about: its path stands before the first colon. */
export function partOf(message: string): { part: "name" | "tags" | "traffic" | "entity" | "other"; at: number } {
  const entity = /served_(?:entities|models)\[(\d+)\]/.exec(message);
  if (entity) return { part: "entity", at: Number(entity[1]) };
  const path = message.split(":")[0] ?? "";
  if (/traffic_config/.test(path)) return { part: "traffic", at: -1 };
  if (/^tags/.test(path)) return { part: "tags", at: -1 };
  if (/^(?:'?name'?)\b/.test(path) || /endpoint .* (?:already|exists)/i.test(message)) return { part: "name", at: -1 };
  return { part: "other", at: -1 };
}
