// Requests to the server that the page came from.  Every one has the header that makes the session's cookie count: no
// other site can send it.
import { isObject, parsed } from "./json";

/** The header beside the cookie; see docs/concepts/web.md. */
export const PAGE_HEADER = { "x-tesela-page": "1" };

/** What went wrong with a request: an answer of the server's, or none at all (status 0). */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly param = "",
    readonly requestId = "",
  ) {
    super(message);
  }
  /** Nobody is signed in any more. */
  get signedOut(): boolean {
    return this.status === 401;
  }
  get offline(): boolean {
    return this.status === 0;
  }
}

type Listener = (error: ApiError) => void;
let onSignedOut: Listener = () => undefined;

/** Who is told when the server says that the session is over. */
export function whenSignedOut(listener: Listener): void {
  onSignedOut = listener;
}

export interface Asked {
  method?: string;
  body?: unknown;
  signal?: AbortSignal;
}

/** Send, and give the response when its head is there.  Throws ApiError for every status above 399, and the browser's
 *  AbortError when it was stopped. */
export async function send(path: string, asked: Asked = {}): Promise<Response> {
  const { method = "GET", body, signal } = asked;
  const init: RequestInit = { method, headers: PAGE_HEADER, credentials: "same-origin" };
  if (body !== undefined) {
    init.body = typeof body === "string" ? body : JSON.stringify(body);
    init.headers = { "content-type": "application/json", ...init.headers };
  }
  if (signal) init.signal = signal;
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "OFFLINE", "");
  }
  if (response.status >= 400) {
    const error = await errorOf(response);
    if (error.signedOut) onSignedOut(error);
    throw error;
  }
  return response;
}

/** Send, and give the answer's JSON. */
export async function ask<T>(path: string, asked: Asked = {}): Promise<T> {
  const response = await send(path, asked);
  const text = await response.text();
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError(response.status, "NOT_JSON", text.slice(0, 300), "", response.headers.get("x-request-id") ?? "");
  }
}

/** An answer that refuses, as an error: both shapes of the API (`error_code`/`message` and `error: {…}`). */
export async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  const id = response.headers.get("x-request-id") ?? "";
  return readError(response.status, text, id) ?? new ApiError(response.status, "", text.slice(0, 500), "", id);
}

export function readError(status: number, text: string, id = ""): ApiError | null {
  const outer = parsed(text);
  if (!isObject(outer)) return null;
  const inner = isObject(outer["error"]) ? outer["error"] : outer;
  const word = (...names: string[]): string => {
    for (const name of names) {
      const value = inner[name] ?? outer[name];
      if (typeof value === "string" && value) return value;
    }
    return "";
  };
  const message = word("message", "detail");
  if (!message && !word("error_code", "code")) return null;
  return new ApiError(status, word("error_code", "code", "type"), message, word("param"), id);
}
