// What an endpoint did, as the API tells it: GET /api/2.0/tesela/serving-endpoints/{name}/activity.
export interface Minute {
  at_ms: number;
  requests: number;
  failed: number;
  cancelled: number;
  prompt_tokens: number;
  completion_tokens: number;
  p50_ms: number | null;
  p95_ms: number | null;
}
export interface Recent {
  at_ms: number;
  request_id: string;
  served_entity: string;
  principal: string;
  status: number;
  error: string;
  duration_ms: number;
  first_ms: number | null;
  prompt_tokens: number;
  completion_tokens: number;
  streamed: boolean;
}
export interface Activity {
  since_ms: number;
  until_ms: number;
  minutes: Minute[];
  requests: Recent[];
  totals: { requests: number; failed: number; cancelled: number; prompt_tokens: number; completion_tokens: number };
}

const MINUTE_MS = 60_000;

/** A point for every step of the time asked for: minutes in which nothing happened are told as nothing, and long times are
 *  put together so that a chart has at most some 120 points. */
export function filled(found: Pick<Activity, "minutes" | "until_ms">, minutes: number): Minute[] {
  const step = Math.max(1, Math.ceil(minutes / 120));
  const last = Math.floor(found.until_ms / MINUTE_MS);
  const first = last - minutes + 1;
  const out: Minute[] = [];
  for (let at = first; at <= last; at += step) out.push(nothing(at * MINUTE_MS));
  for (const one of found.minutes) {
    const into = out[Math.floor((Math.floor(one.at_ms / MINUTE_MS) - first) / step)];
    if (!into) continue;
    const before = into.requests;
    for (const name of ["requests", "failed", "cancelled", "prompt_tokens", "completion_tokens"] as const) into[name] += one[name];
    // Percentiles cannot be added; a mean weighed by the requests is what a picture can bear.
    for (const name of ["p50_ms", "p95_ms"] as const) {
      const [a, b] = [into[name], one[name]];
      into[name] = a === null ? b : b === null ? a : (a * before + b * one.requests) / Math.max(1, into.requests);
    }
  }
  return out;
}

function nothing(at_ms: number): Minute {
  return { at_ms, requests: 0, failed: 0, cancelled: 0, prompt_tokens: 0, completion_tokens: 0, p50_ms: null, p95_ms: null };
}
