// Small settings kept in the browser.  A browser that refuses to keep anything (private windows, a full disk) is no
// reason not to work: then they last as long as the page.
const PREFIX = "tesela.";
const fallback = new Map<string, string>();

export function read(name: string): string | null {
  try {
    // What could not be kept is newer than what was kept before.
    return fallback.get(name) ?? localStorage.getItem(PREFIX + name);
  } catch {
    return fallback.get(name) ?? null;
  }
}

/** What this tab kept, through a reload of the page; other tabs have their own. */
export function readTab(name: string): string | null {
  try {
    return sessionStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function writeTab(name: string, value: string): void {
  try {
    sessionStorage.setItem(PREFIX + name, value);
  } catch {
    // A reload then begins with what all tabs share.
  }
}

/** False when it will not outlast the page. */
export function write(name: string, value: string): boolean {
  try {
    localStorage.setItem(PREFIX + name, value);
    fallback.delete(name);
    return true;
  } catch {
    fallback.set(name, value);
    return false;
  }
}

export function readJson<T>(name: string, otherwise: T): T {
  const found = read(name);
  if (found === null) return otherwise;
  try {
    return JSON.parse(found) as T;
  } catch {
    return otherwise;
  }
}

export function remove(name: string): void {
  fallback.delete(name);
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // It was not kept there either.
  }
}
