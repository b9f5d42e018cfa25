// What must be sent so that an endpoint becomes what the form says.  Pure.
import type { Endpoint } from "../endpoints";
import { BESIDE, ofEndpoint, toConfig, toGateway, toTags, type Form } from "./form";
import type { Json } from "../json";

export interface Step {
  method: "PUT" | "PATCH";
  /** Below the endpoint: `config`, `tags`, … */
  path: string;
  body: Json;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The requests, in order: the configuration first, since it is what is most often refused.  Only what has changed is
 *  sent.  Above all, entities that stay as they are keep their keys, which nobody has to type again. */
export function stepsOf(was: Endpoint, form: Form): Step[] {
  const old = ofEndpoint(was);
  const steps: Step[] = [];
  const [before, after] = [toConfig(old), toConfig(form)];
  if (!same(before, after)) {
    const { served_entities, ...beside } = after;
    // Only a configuration that serves has entities that can stay.
    const stay = same(before["served_entities"], served_entities) && (was.config?.served_entities ?? []).length > 0;
    steps.push({ method: "PUT", path: "config", body: stay ? beside : after });
  }
  if (!same(toGateway(old), toGateway(form))) steps.push({ method: "PUT", path: "ai-gateway", body: toGateway(form) });
  for (const [field, request] of Object.entries(BESIDE)) {
    const [a, b] = [old.rest[field], form.rest[field]];
    if (!same(a, b)) steps.push({ ...request, body: b === undefined ? {} : { [field]: b } });
  }
  const [tags, now] = [toTags(old), toTags(form)];
  if (!same(tags, now)) {
    const gone = tags.filter((one) => !now.some((other) => other.key === one.key)).map((one) => one.key);
    steps.push({ method: "PATCH", path: "tags", body: { add_tags: now, delete_tags: gone } });
  }
  return steps;
}

/** The fields of a typed request that an endpoint which is there does not take any more. */
export function fixed(was: Endpoint, form: Form): string[] {
  const old = ofEndpoint(was);
  const found = Object.keys(form.rest).filter((one) => !(one in BESIDE) && !same(form.rest[one], was[one]));
  if (form.name.trim() !== old.name) found.unshift("name");
  if (form.description.trim() !== old.description.trim()) found.unshift("description");
  return found;
}
