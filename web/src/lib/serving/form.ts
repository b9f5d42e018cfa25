// The form of an endpoint, and the request that it stands for.  Pure, both ways.
import type { Endpoint, Entity, Route } from "../endpoints";
import { isObject, parsed, textOf as text, type Json } from "../json";
import { routeName } from "./overview";
import table from "./providers.json";

export interface Provider {
  config: string;
  /** Where the key goes, `a.b` for one inside another object; empty for none. */
  key: string;
  fields: string[];
  required: string[];
  /** Those of the fields that are sealed like the key, and needed. */
  sealed?: string[];
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
  /** What the request has beside, in its configuration, and in `ai_gateway`: the form does not know it and must not lose it. */
  rest: Json;
  restOfConfig: Json;
  restOfGateway: Json;
}

export function newEntity(): EntityForm {
  return {
    name: "", kind: "external", provider: "openai", task: "llm/v1/chat", model: "", key: "", fields: {}, percentage: 0, rest: {},
  }; // prettier-ignore
}

export function newForm(): Form {
  return { name: "", description: "", entities: [{ ...newEntity(), percentage: 100 }], tags: [], fallback: false, rest: {}, restOfConfig: {}, restOfGateway: {} };
}

const SECRET = /^\{\{secrets\/[^{}]+\}\}$/;

/** A served entity as the API wants it.  Its name is left out when it was left out. */
export function toEntity(form: EntityForm): Json {
  const named: Json = form.name.trim() ? { name: form.name.trim() } : {};
  if (form.kind === "local") return { ...named, entity_name: form.model.trim(), ...form.rest };
  const provider = PROVIDERS[form.provider];
  const external: Json = { name: form.model.trim(), provider: form.provider, task: form.task };
  if (provider) {
    const config: Json = { ...(isObject(form.rest["config"]) ? form.rest["config"] : {}) };
    for (const field of provider.fields) {
      const given = form.fields[field]?.trim();
      if (given) config[provider.sealed?.includes(field) ? sealedName(field, given) : field] = given;
    }
    if (provider.key && form.key) putKey(config, provider.key, form.key);
    if (Object.keys(config).length || !["scripted"].includes(form.provider)) external[provider.config] = config;
  }
  const { config: _, ...rest } = form.rest;
  return { ...named, external_model: external, ...rest };
}

/** A key that is no reference goes where plain ones are sealed. */
function sealedName(field: string, key: string): string {
  return SECRET.test(key) ? field : `${field}_plaintext`;
}

function putKey(config: Json, at: string, key: string): void {
  const [outer = "", inner] = at.split(".");
  if (inner === undefined) config[sealedName(outer, key.trim())] = key.trim();
  else config[outer] = { [sealedName(inner, key.trim())]: key.trim() };
}

/** The name that the server gives an entity that was given none. */
export function nameOf(form: EntityForm): string {
  const version = form.kind === "local" ? text(form.rest["entity_version"]) : "";
  return form.name.trim() || form.model.trim().replace(/[.:/]/g, "-") + (version && `-${version}`);
}

export function toConfig(form: Form): Json {
  const served_entities = form.entities.map(toEntity);
  if (form.entities.length < 2) return { served_entities, ...form.restOfConfig };
  const routes = form.entities.map((one) => ({ served_entity_name: nameOf(one), traffic_percentage: one.percentage }));
  return { served_entities, traffic_config: { routes }, ...form.restOfConfig };
}

export function toGateway(form: Form): Json {
  return { ...form.restOfGateway, ...(form.fallback ? { fallback_config: { enabled: true } } : {}) };
}

/** The body of the request that makes the endpoint. */
export function toCreate(form: Form): Json {
  const body: Json = { name: form.name.trim(), config: toConfig(form) };
  if (form.description.trim()) body["description"] = form.description.trim();
  const tags = toTags(form);
  if (tags.length) body["tags"] = tags;
  const gateway = toGateway(form);
  if (Object.keys(gateway).length) body["ai_gateway"] = gateway;
  return { ...body, ...form.rest };
}

export function toTags(form: Pick<Form, "tags">): { key: string; value?: string }[] {
  return form.tags
    .filter((one) => one.key.trim())
    .map((one) => ({ key: one.key.trim(), ...(one.value.trim() ? { value: one.value.trim() } : {}) }));
}

/** What can be changed of an endpoint beside what the form shows: its field, and the request that changes it. */
export const BESIDE = {
  rate_limits: { method: "PUT", path: "rate-limits" },
  email_notifications: { method: "PATCH", path: "notifications" },
  telemetry_config: { method: "PATCH", path: "telemetry-config" },
} as const;

/** The form of an endpoint that is there.  Keys are never told, so they are empty. */
export function ofEndpoint(endpoint: Endpoint): Form {
  const config = endpoint.config?.served_entities?.length ? endpoint.config : endpoint.pending_config;
  const { config_version: _, start_time: __, ...asked } = config ?? {};
  const { name, description, tags, ai_gateway } = endpoint;
  const beside = Object.fromEntries(Object.keys(BESIDE).flatMap((one) => (one in endpoint ? [[one, endpoint[one]]] : [])));
  return ofRequest({ name, description, tags, ai_gateway, ...beside, config: asked });
}

/** The form of a request that makes an endpoint. */
function ofRequest(request: Json): Form {
  const { name, description, tags, ai_gateway, config, ...rest } = request;
  const { served_entities, served_models, traffic_config, ...restOfConfig } = isObject(config) ? config : {};
  const entities = objects(served_entities ?? served_models);
  const routes = objects(isObject(traffic_config) ? traffic_config["routes"] : []);
  const shares = new Map(routes.map((one) => [routeName(one as Partial<Route> as Route), Number(one["traffic_percentage"] ?? 0)]));
  const { fallback_config, ...restOfGateway } = isObject(ai_gateway) ? ai_gateway : {};
  return {
    name: text(name),
    description: text(description),
    tags: objects(tags).map((one) => ({ key: text(one["key"]), value: text(one["value"]) })),
    fallback: isObject(fallback_config) && fallback_config["enabled"] === true,
    entities: entities.map((one) => {
      const form = ofEntity(one, 0);
      return { ...form, percentage: shares.get(nameOf(form)) ?? (entities.length === 1 ? 100 : 0) };
    }),
    rest, restOfConfig, restOfGateway,
  }; // prettier-ignore
}

const objects = (value: unknown): Json[] => (Array.isArray(value) ? value.filter(isObject) : []);

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
    for (const named of provider?.sealed?.includes(field) ? [field, `${field}_plaintext`] : [field]) {
      if (named in config) fields[field] = text(config[named]);
      delete config[named];
    }
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
  const found = parsed(typed);
  if (found === undefined) return "json";
  if (!isObject(found) || !isObject(found["config"])) return "object";
  return ofRequest(found);
}

export function sum(form: Form): number {
  return form.entities.reduce((total, one) => total + one.percentage, 0);
}

export interface Part {
  part: "name" | "tags" | "traffic" | "entity" | "other";
  /** Which served entity, and which of its fields, `external_model.name` say. */
  at: number;
  field?: string;
}

/** The part of the form that a message of the API is about: its `param`, or else the path before the first colon. */
export function partOf(message: string, param = ""): Part {
  const path = param || (message.split(":")[0] ?? "");
  const entity = /served_(?:entities|models)\[(\d+)\]\.?([\w.]*)/.exec(path) ?? /served_(?:entities|models)\[(\d+)\]/.exec(message);
  if (entity) return { part: "entity", at: Number(entity[1]), field: (entity[2] ?? "").replace(/_plaintext$/, "") };
  if (/traffic_config/.test(path)) return { part: "traffic", at: -1 };
  if (/^tags/.test(path)) return { part: "tags", at: -1 };
  if (/^(?:'?name'?)\b/.test(path) || /endpoint .* (?:already|exists)/i.test(message)) return { part: "name", at: -1 };
  return { part: "other", at: -1 };
}
