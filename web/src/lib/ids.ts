/** An id for what is made in the browser.  `crypto.randomUUID` is only there over https and on the machine itself. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
