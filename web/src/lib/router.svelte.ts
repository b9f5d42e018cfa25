// Addresses: the path says which page, the query what it shows.  Links are plain ones; a click on one of ours is taken
// without a reload.
export type Page = "serving" | "endpoint" | "create" | "edit" | "playground" | "sql" | "none";
export interface Place {
  page: Page;
  /** The endpoint's name, of the pages that have one. */
  name: string;
  query: URLSearchParams;
}

const PATTERNS: [RegExp, Page][] = [
  [/^\/(?:playground)?\/?$/, "playground"],
  [/^\/serving\/?$/, "serving"],
  [/^\/serving-create\/?$/, "create"],
  [/^\/serving\/([^/]+)\/edit\/?$/, "edit"],
  [/^\/serving\/([^/]+)\/?$/, "endpoint"],
  [/^\/sql\/?$/, "sql"],
];

export function placeOf(path: string, search: string): Place {
  const query = new URLSearchParams(search);
  for (const [pattern, page] of PATTERNS) {
    const found = pattern.exec(path);
    if (found) return { page, name: decoded(found[1] ?? ""), query };
  }
  return { page: "none", name: "", query };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const current = $state<{ place: Place }>({ place: placeOf(location.pathname, location.search) });

export function place(): Place {
  return current.place;
}

type Guard = () => boolean;
let mayLeave: Guard = () => true;

/** Ask before the page is left, also by the browser's back button; gives what takes the guard away. */
export function guard(asks: Guard): () => void {
  mayLeave = asks;
  return () => {
    if (mayLeave === asks) mayLeave = () => true;
  };
}

/** Where the page shown is: by the time that the browser tells of its back button, it has changed the address. */
let here = location.pathname + location.search;

function arrived(): void {
  here = location.pathname + location.search;
  current.place = placeOf(location.pathname, location.search);
}

export function go(to: string, replace = false): void {
  if (!replace && !mayLeave()) return;
  if (replace && to === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  arrived();
  if (!replace) window.scrollTo(0, 0);
}

/** The address of an endpoint's page. */
export function endpointPath(name: string, tab = ""): string {
  return `/serving/${encodeURIComponent(name)}${tab ? `?tab=${tab}` : ""}`;
}

export function startRouter(): () => void {
  const moved = () => {
    if (location.pathname + location.search === here || mayLeave()) arrived();
    else history.pushState(null, "", here);
  };
  const clicked = (event: MouseEvent) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || event.defaultPrevented || event.button !== 0 || link.target || link.hasAttribute("download")) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.origin !== location.origin || placeOf(link.pathname, link.search).page === "none") return;
    if (link.hash && link.pathname === location.pathname) return;
    event.preventDefault();
    go(link.pathname + link.search);
  };
  addEventListener("popstate", moved);
  document.addEventListener("click", clicked);
  return () => {
    removeEventListener("popstate", moved);
    document.removeEventListener("click", clicked);
  };
}
