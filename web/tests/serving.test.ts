// The serving pages without a browser: the list, the form, the figures.
import { describe, expect, it } from "vitest";
import type { Endpoint } from "../src/lib/endpoints";
import { filled } from "../src/lib/serving/activity";
import { fixed, stepsOf } from "../src/lib/serving/change";
import { newEntity, newForm, ofEndpoint, ofText, partOf, PROVIDERS, sum, toConfig, toCreate, toEntity, type Form } from "../src/lib/serving/form";
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
  it("seals the other half of a key as well", () => {
    const entity = { ...newEntity(), provider: "amazon-bedrock", model: "anthropic.m", key: "{{secrets/a/b}}", fields: { aws_region: "eu-west-1", aws_access_key_id: "AKIA" } };
    const made = toEntity(entity);
    expect(made).toMatchObject({ external_model: { amazon_bedrock_config: { aws_region: "eu-west-1", aws_access_key_id_plaintext: "AKIA", aws_secret_access_key: "{{secrets/a/b}}" } } });
    expect(ofText(JSON.stringify({ name: "e", config: { served_entities: [made] } }))).toMatchObject({ entities: [{ fields: entity.fields, rest: {} }] });
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
  it("calls entities without a name as the server does", () => {
    const form = { ...newForm(), entities: [{ ...newEntity(), model: "gpt-4.1", percentage: 50 }, { ...newEntity(), kind: "local" as const, model: "a/b:c", rest: { entity_version: "2" }, percentage: 50 }] };
    expect(toConfig(form)["traffic_config"]).toEqual({ routes: [{ served_entity_name: "gpt-4-1", traffic_percentage: 50 }, { served_entity_name: "a-b-c-2", traffic_percentage: 50 }] });
    expect(ofText(JSON.stringify(toCreate({ ...form, name: "e" })))).toMatchObject({ entities: [{ percentage: 50 }, { percentage: 50 }] });
  });
  it("keeps of a typed request what it has no fields for", () => {
    const request = {
      name: "e",
      config: { served_entities: [{ name: "m", entity_name: "tiny" }], auto_capture_config: { enabled: true } },
      ai_gateway: { usage_tracking_config: { enabled: true } },
      rate_limits: [{ calls: 5, renewal_period: "minute" }],
      route_optimized: true,
    };
    expect(toCreate(ofText(JSON.stringify(request)) as Form)).toEqual(request);
    const older = { name: "e", config: { served_models: [{ name: "m", entity_name: "tiny" }] } };
    expect(ofText(JSON.stringify(older))).toMatchObject({ entities: [{ name: "m", model: "tiny", percentage: 100 }] });
  });
  it("says what a text is that is no request", () => {
    expect(ofText("{")).toBe("json");
    for (const text of ["[]", "7", "{}", '{"config": 1}']) expect(ofText(text)).toBe("object");
  });
  it("finds the field that a message is about", () => {
    expect(partOf("config.served_entities[1].external_model: no")).toEqual({ part: "entity", at: 1, field: "external_model" });
    const key = "config.served_entities[0].external_model.openai_config.openai_api_key_plaintext";
    expect(partOf("is empty", key)).toEqual({ part: "entity", at: 0, field: "external_model.openai_config.openai_api_key" });
    expect(partOf("config: served_entities[2] has no model")).toEqual({ part: "entity", at: 2, field: "" });
    expect(partOf("config.traffic_config: the percentages").part).toBe("traffic");
    expect(partOf("name: 'x y' cannot be").part).toBe("name");
    expect(partOf("something else").part).toBe("other");
  });
});

describe("changing an endpoint", () => {
  const model = (name: string) => ({ name, external_model: { name: "gpt", provider: "openai", task: "llm/v1/chat", openai_config: {} } });
  const routes = (a: number, b: number) => ({ routes: [{ served_entity_name: "a", traffic_percentage: a }, { served_entity_name: "b", traffic_percentage: b }] });
  const config = { served_entities: [model("a"), model("b")], traffic_config: routes(60, 40), auto_capture_config: { enabled: true }, config_version: 3 };
  const was = endpoint("x", { config, tags: [{ key: "k", value: "v" }], description: "d", ai_gateway: { usage_tracking_config: { enabled: true } } });

  it("sends nothing when nothing has changed", () => {
    expect(stepsOf(was, ofEndpoint(was))).toEqual([]);
    expect(stepsOf(was, ofText(JSON.stringify(toCreate(ofEndpoint(was)))) as Form)).toEqual([]);
  });
  it("sends the traffic alone, so that no key is asked for", () => {
    const form = ofEndpoint(was);
    form.entities[0]!.percentage = 10;
    form.entities[1]!.percentage = 90;
    expect(stepsOf(was, form)).toEqual([{ method: "PUT", path: "config", body: { traffic_config: routes(10, 90), auto_capture_config: { enabled: true } } }]);
  });
  it("sends the entities when one has changed, or when none serves yet", () => {
    const form = ofEndpoint(was);
    form.entities[0]!.key = "sk";
    expect(stepsOf(was, form)[0]?.body).toHaveProperty("served_entities");
    const { config: pending_config, ...rest } = was;
    const coming = { ...rest, pending_config } as Endpoint;
    const other = ofEndpoint(coming);
    other.entities[0]!.percentage = 100;
    expect(stepsOf(coming, other)[0]?.body).toHaveProperty("served_entities");
  });
  it("changes what is beside, the configuration first", () => {
    const form = { ...ofEndpoint(was), fallback: true, tags: [{ key: "new", value: "" }], rest: { rate_limits: [{ calls: 1, renewal_period: "minute" }] } };
    form.entities = form.entities.slice(0, 1);
    expect(stepsOf(was, form).map((one) => [one.method, one.path])).toEqual([["PUT", "config"], ["PUT", "ai-gateway"], ["PUT", "rate-limits"], ["PATCH", "tags"]]);
    expect(stepsOf(was, form)[1]?.body).toEqual({ usage_tracking_config: { enabled: true }, fallback_config: { enabled: true } });
    expect(stepsOf(was, form)[3]?.body).toEqual({ add_tags: [{ key: "new" }], delete_tags: ["k"] });
  });
  it("says what stays as it is", () => {
    const form = ofEndpoint(was);
    expect(fixed(was, form)).toEqual([]);
    expect(fixed(was, { ...form, name: "y", description: "", rest: { route_optimized: true } })).toEqual(["description", "name", "route_optimized"]);
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
