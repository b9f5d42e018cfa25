// Who is signed in.  The session itself is a cookie that no script can read.
import { ApiError, ask, whenSignedOut } from "./api";

export interface User {
  id: string;
  name: string;
  admin: boolean;
}
export interface Session {
  user: User | null;
  version?: string;
  sql?: boolean;
}

const PATH = "/api/2.0/tesela/session";
const current = $state<{ known: boolean; session: Session; ended: boolean; trouble: ApiError | null; refused: ApiError | null }>({
  known: false,
  session: { user: null },
  ended: false,
  trouble: null,
  refused: null,
});

export function session(): typeof current {
  return current;
}

/** The user who is signed in; only for pages, which are shown to nobody else. */
export function user(): User {
  return current.session.user ?? { id: "", name: "", admin: false };
}

/** Looks who is signed in, or signs in with the one-time code in the address. */
export async function startSession(): Promise<void> {
  // The pages stay: what was typed is not lost by signing in again.
  whenSignedOut(() => {
    if (current.session.user) current.ended = true;
  });
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  try {
    current.session = await ask<Session>(PATH);
    if (!current.session.user && code) await signIn({ code });
    current.trouble = null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // A code that is no longer good leaves the other way to sign in.
    current[error.offline || error.status >= 500 ? "trouble" : "refused"] = error;
  }
  current.known = true;
}

/** Throws ApiError. */
export async function signIn(by: { token: string } | { code: string }): Promise<void> {
  current.session = await ask<Session>(PATH, { method: "POST", body: by });
  current.ended = false;
  current.trouble = null;
  current.refused = null;
}

/** Throws ApiError. */
export async function signOut(): Promise<void> {
  await ask(PATH, { method: "DELETE" });
  current.session = { user: null };
  current.ended = false;
}
