// Endpoints as the API tells them, and what follows from that.  docs/reference/api.md, "Endpoints".
import { ask } from "./api";

const API = "/api/2.0/serving-endpoints";

/** Where the API has an endpoint, or what belongs to it: `tags`, `config`, … */
export function apiPath(name: string, tail = ""): string {
  return `${API}/${encodeURIComponent(name)}${tail && `/${tail}`}`;
}

/** Where it is asked. */
export function invocations(name: string): string {
  return `/serving-endpoints/${encodeURIComponent(name)}/invocations`;
}

export interface Entity {
  name: string;
  entity_name?: string;
  external_model?: { name: string; provider: string; task: string };
  foundation_model?: { name: string; display_name?: string };
  state?: { deployment?: string; deployment_state_message?: string };
  [key: string]: unknown;
}
export interface Route {
  served_model_name?: string;
  served_entity_name?: string;
  traffic_percentage: number;
}
export interface EndpointConfig {
  served_entities?: Entity[];
  traffic_config?: { routes?: Route[] };
  config_version?: number;
  [key: string]: unknown;
}
export interface Endpoint {
  id: string;
  name: string;
  task?: string;
  creator?: string;
  description?: string;
  creation_timestamp?: number;
  last_updated_timestamp?: number;
  state?: { ready?: string; config_update?: string };
  config?: EndpointConfig;
  pending_config?: EndpointConfig;
  tags?: { key: string; value?: string }[];
  permission_level?: string;
  capabilities?: Record<string, boolean>;
  endpoint_url?: string;
  [key: string]: unknown;
}

/** The endpoints that the user may see, by name. */
export async function list(): Promise<Endpoint[]> {
  const found = await ask<{ endpoints?: Endpoint[] }>(API);
  return (found.endpoints ?? []).sort((a, b) => a.name.localeCompare(b.name));
}

export async function get(name: string): Promise<Endpoint> {
  return ask<Endpoint>(apiPath(name));
}

/** `body` is an object, or its JSON as somebody typed it. */
export async function create(body: unknown): Promise<void> {
  await ask(API, { method: "POST", body });
}

/** Built in under a name that workspaces have, and answered by another model: for code that was written for one. */
export function standsIn(endpoint: Endpoint): boolean {
  const [entity, ...others] = endpoint.config?.served_entities ?? [];
  if (endpoint["source"] !== "built-in" || !entity?.entity_name || others.length) return false;
  return entity.entity_name !== endpoint.name;
}

/** The kind of query that an endpoint answers: the last part of `llm/v1/chat`. */
export function taskOf(endpoint: Endpoint): "chat" | "completions" | "embeddings" | "responses" | "" {
  const last = (endpoint.task ?? "").split("/").pop() ?? "";
  return last === "chat" || last === "completions" || last === "embeddings" || last === "responses" ? last : "";
}
