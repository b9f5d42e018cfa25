// The serving pages without a browser: the list, the form, the figures.
import { describe, expect, it } from "vitest";
import type { Endpoint } from "../src/lib/endpoints";
import { filled } from "../src/lib/serving/activity";
import { newEntity, newForm, ofEndpoint, ofText, partOf, PROVIDERS, sum, toConfig, toCreate, toEntity } from "../src/lib/serving/form";
import { DEFAULT, fromQuery, select, shares, stateOf, toQuery } from "../src/lib/serving/overview";

const endpoint = (name: string, more: Partial<Endpoint> = {}): Endpoint => ({ id: name, name, task: "llm/v1/chat", state: { ready: "READY" }, ...more });

describe("the list", () => {
  const all = [
    endpoint("beta", { creator: "ann", last_updated_timestamp: 2, tags: [{ key: "team", value: "Red" }] }),
    endpoint("Alpha", { task: "llm/v1/embeddings", last_updated_timestamp: 3, state: { ready: "NOT_READY", config_update: "IN_PROGRESS" } }),
    endpoint("gamma", { last_updated_timestamp: 1, config: { served_entities: [{ name: "m", external_model: { name: "gpt-4", provider: "openai", task: "" } }] } }),
  ];
  const names = (wanted: Partial<typeof DEFAULT>) => select(all, { ...DEFAULT, ...wanted }).map((one) => one.name);

  it("searches all that is shown, every word", () => {
    expect(names({})).toEqual(["Alpha", "beta", "gamma"]);
    expect(names({ search: "team:red" })).toEqual(["beta"]);
    expect(names({ search: "OPENAI gpt" })).toEqual(["gamma"]);
    expect(names({ search: "ann gpt" })).toEqual([]);
  });
  it("filters and sorts both ways", () => {
    expect(names({ state: "updating" })).toEqual(["Alpha"]);
    expect(names({ task: "llm/v1/chat" })).toEqual(["beta", "gamma"]);
    expect(names({ sort: "changed" })).toEqual(["gamma", "beta", "Alpha"]);
    expect(names({ sort: "changed", down: true })).toEqual(["Alpha", "beta", "gamma"]);
  });
  it("keeps what is wanted in the address", () => {
    const wanted = { search: "a b&c", task: "t", state: "ready", sort: "creator" as const, down: true };
    expect(fromQuery(new URLSearchParams(toQuery(wanted)))).toEqual(wanted);
    expect(toQuery(DEFAULT)).toBe("");
    expect(fromQuery(new URLSearchParams("sort=constructor"))).toEqual(DEFAULT);
  });
  it("tells states and shares", () => {
    expect(stateOf(endpoint("x", { state: { ready: "NOT_READY", config_update: "UPDATE_FAILED" } }))).toBe("failed");
    const config = { served_entities: [{ name: "a" }, { name: "b" }], traffic_config: { routes: [{ served_model_name: "b", traffic_percentage: 70 }] } };
    expect(shares(endpoint("x", { config })).map((one) => [one.name, one.percentage])).toEqual([["b", 70], ["a", 0]]);
  });
});

describe("the form", () => {
  it.each(Object.keys(PROVIDERS))("comes back from its request for %s", (provider) => {
    const about = PROVIDERS[provider]!;
    const fields = Object.fromEntries(about.fields.map((one) => [one, `the ${one}`]));
    const entity = { ...newEntity(), name: "m", provider, model: "x", fields, key: about.key ? "{{secrets/a/b}}" : "", percentage: 100 };
    const form = { ...newForm(), name: "e", description: "d", entities: [entity], tags: [{ key: "k", value: "" }], fallback: true };
    const found = ofText(JSON.stringify(toCreate(form)));
    expect(found).toEqual(form);
  });
  it("puts a key that is no reference where it is sealed", () => {
    const entity = { ...newEntity(), model: "gpt", key: "sk-1" };
    expect(toEntity(entity)).toEqual({ external_model: { name: "gpt", provider: "openai", task: "llm/v1/chat", openai_config: { openai_api_key_plaintext: "sk-1" } } });
    expect(toEntity({ ...entity, provider: "groq" })).toMatchObject({ external_model: { custom_provider_config: { bearer_token_auth: { token_plaintext: "sk-1" } } } });
  });
  it("loses nothing that it does not know", () => {
    const config = { served_entities: [{ name: "m", workload_size: "Small", entity_name: "tiny", state: { deployment: "X" }, type: "T" }] };
    expect(toConfig(ofEndpoint(endpoint("x", { config })))).toEqual({ served_entities: [{ name: "m", entity_name: "tiny", workload_size: "Small" }] });
  });
  it("splits traffic when there is something to split", () => {
    const form = { ...newForm(), entities: [{ ...newEntity(), model: "a", percentage: 60 }, { ...newEntity(), name: "b", percentage: 40 }] };
    expect(toConfig(form)["traffic_config"]).toEqual({ routes: [{ served_entity_name: "a", traffic_percentage: 60 }, { served_entity_name: "b", traffic_percentage: 40 }] });
    expect(sum(form)).toBe(100);
  });
  it("says what a text is that is no request", () => {
    expect(ofText("{")).toBe("json");
    for (const text of ["[]", "7", "{}", '{"config": 1}']) expect(ofText(text)).toBe("object");
  });
  it("finds the field that a message is about", () => {
    expect(partOf("config.served_entities[1].external_model: no")).toEqual({ part: "entity", at: 1 });
    expect(partOf("config.traffic_config: the percentages").part).toBe("traffic");
    expect(partOf("name: 'x y' cannot be").part).toBe("name");
    expect(partOf("something else").part).toBe("other");
  });
});

describe("figures", () => {
  const minute = (at: number, requests: number, p50: number | null) => ({
    at_ms: at * 60_000, requests, failed: 1, cancelled: 0, prompt_tokens: 2, completion_tokens: 3, p50_ms: p50, p95_ms: null,
  }); // prettier-ignore
  it("fill the minutes in which nothing happened", () => {
    const points = filled({ minutes: [minute(98, 4, 10)], until_ms: 100 * 60_000 + 5 }, 60);
    expect(points).toHaveLength(60);
    expect(points.map((one) => one.requests).reduce((a, b) => a + b)).toBe(4);
    expect(points[57]).toMatchObject({ at_ms: 98 * 60_000, requests: 4, p50_ms: 10 });
  });
  it("put long times together", () => {
    const points = filled({ minutes: [minute(1440, 1, 10), minute(1439, 3, 30)], until_ms: 1440 * 60_000 }, 1440);
    expect(points.length).toBeLessThanOrEqual(121);
    expect(points.at(-1)).toMatchObject({ requests: 4, failed: 2, p50_ms: 25 });
  });
});
