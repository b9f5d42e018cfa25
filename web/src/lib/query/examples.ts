// What "Show example" fills in: the endpoint's own example where it has one, else one for its task.
import { taskOf, type Endpoint } from "../endpoints";
import { parsed, pretty } from "../json";

const EXAMPLES: Record<string, unknown> = {
  chat: {
    messages: [
      { role: "system", content: "You are a helpful assistant." },
      { role: "user", content: "What is a mosaic made of?" },
    ],
    max_tokens: 128,
    temperature: 0.2,
  },
  completions: { prompt: "A mosaic is made of", max_tokens: 64, temperature: 0.2 },
  embeddings: { input: ["a tile", "a mosaic", "a train timetable"] },
};

/** The body, as text.  A tag `example` holds an example that was logged with the endpoint. */
export function example(endpoint: Endpoint): string {
  const logged = endpoint.tags?.find((one) => one.key === "example")?.value;
  // What is no JSON is a tag of another meaning.
  if (logged && parsed(logged) !== undefined) return pretty(logged);
  return JSON.stringify(EXAMPLES[taskOf(endpoint)] ?? EXAMPLES["chat"], null, 2);
}
