// A request to an endpoint, and its answer as it comes: event by event, or whole.
import { send } from "./api";
import { invocations } from "./endpoints";
import { eventsOf } from "./sse";

export interface Head {
  status: number;
  request_id: string;
  /** The served entity that answers. */
  served: string;
}
export interface Taker {
  head(head: Head): void;
  /** One event's data; false when no more of them are wanted. */
  event(data: string): boolean;
  whole(text: string): void;
}

/** Throws ApiError for a refusal, and what the browser throws when the connection breaks or `signal` is aborted. */
export async function invoke(endpoint: string, body: unknown, signal: AbortSignal, taker: Taker): Promise<void> {
  const response = await send(invocations(endpoint), { method: "POST", body, signal });
  const { headers } = response;
  taker.head({
    status: response.status,
    request_id: headers.get("x-request-id") ?? "",
    served: headers.get("served-model-name") ?? "",
  });
  if (!headers.get("content-type")?.startsWith("text/event-stream") || !response.body) {
    taker.whole(await response.text());
    return;
  }
  for await (const event of eventsOf(response.body)) if (!taker.event(event)) return;
}
