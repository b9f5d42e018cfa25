// What the list of endpoints shows, searches and sorts by.  Pure.
import type { Endpoint, EndpointConfig, Entity, Route } from "../endpoints";

export type State = "ready" | "updating" | "failed" | "not_ready";
export const STATES: State[] = ["ready", "updating", "failed", "not_ready"];
export const LOOKS: Record<State, string> = { ready: "good", updating: "warn", failed: "bad", not_ready: "warn" };

export function stateOf(endpoint: Endpoint): State {
  const update = endpoint.state?.config_update;
  if (update === "IN_PROGRESS") return "updating";
  if (endpoint.state?.ready === "READY") return "ready";
  return update === "UPDATE_FAILED" ? "failed" : "not_ready";
}

export function entityLabel(entity: Entity): string {
  return entity.external_model?.name ?? entity.foundation_model?.display_name ?? entity.foundation_model?.name ?? entity.entity_name ?? entity.name;
}

/** Percent of the traffic; an only one has all of it also where nothing says so. */
export function shareOf(config: EndpointConfig, entity: Entity): number {
  const route = config.traffic_config?.routes?.find((one) => routeName(one) === entity.name);
  return route?.traffic_percentage ?? (config.served_entities?.length === 1 ? 100 : 0);
}

/** Each served entity with its share of the traffic, the largest first. */
export function shares(endpoint: Endpoint): { name: string; label: string; provider: string; percentage: number }[] {
  const config = endpoint.config ?? {};
  return (config.served_entities ?? [])
    .map((one) => ({
      name: one.name,
      label: entityLabel(one),
      provider: one.external_model?.provider ?? "",
      percentage: shareOf(config, one),
    }))
    .sort((a, b) => b.percentage - a.percentage);
}

export function routeName(route: Route): string {
  return route.served_entity_name ?? route.served_model_name ?? "";
}

export type Column = "name" | "state" | "task" | "creator" | "changed";
export interface Wanted {
  search: string;
  task: string;
  state: string;
  sort: Column;
  down: boolean;
}

/** All that a search looks at, in small letters. */
function words(endpoint: Endpoint): string {
  const tags = (endpoint.tags ?? []).map((one) => `${one.key}:${one.value ?? ""}`);
  const entities = shares(endpoint).flatMap((one) => [one.name, one.label, one.provider]);
  return [endpoint.name, endpoint.creator ?? "", endpoint.description ?? "", ...tags, ...entities].join("\n").toLowerCase();
}

const KEYS: Record<Column, (endpoint: Endpoint) => string | number> = {
  name: (one) => one.name.toLowerCase(),
  state: (one) => STATES.indexOf(stateOf(one)),
  task: (one) => one.task ?? "",
  creator: (one) => (one.creator ?? "").toLowerCase(),
  changed: (one) => one.last_updated_timestamp ?? 0,
};

export function select(endpoints: Endpoint[], wanted: Wanted): Endpoint[] {
  const looked = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
  const key = KEYS[wanted.sort];
  const found = endpoints.filter((one) => {
    if (wanted.task && one.task !== wanted.task) return false;
    if (wanted.state && stateOf(one) !== wanted.state) return false;
    if (!looked.length) return true;
    const text = words(one);
    return looked.every((word) => text.includes(word));
  });
  const way = wanted.down ? -1 : 1;
  return found.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return (x < y ? -1 : x > y ? 1 : a.name.localeCompare(b.name)) * way;
  });
}

export const DEFAULT: Wanted = { search: "", task: "", state: "", sort: "name", down: false };

export function fromQuery(query: URLSearchParams): Wanted {
  const sort = query.get("sort") ?? "";
  return {
    search: query.get("q") ?? "",
    task: query.get("task") ?? "",
    state: query.get("state") ?? "",
    sort: Object.hasOwn(KEYS, sort) ? (sort as Column) : "name",
    down: query.get("down") === "1",
  };
}

export function toQuery(wanted: Wanted): string {
  const query = new URLSearchParams();
  if (wanted.search) query.set("q", wanted.search);
  if (wanted.task) query.set("task", wanted.task);
  if (wanted.state) query.set("state", wanted.state);
  if (wanted.sort !== "name") query.set("sort", wanted.sort);
  if (wanted.down) query.set("down", "1");
  const text = query.toString();
  return text ? `?${text}` : "";
}
