/** Milliseconds after which the browser has surely begun to read what it was given. */
const KEPT_MS = 60_000;

/** Gives the user a file. */
export function download(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}
