// All rows of a result as a CSV file, put together in the browser a chunk at a time.
import { download } from "../download";
import { fileName, line } from "./csv";
import { chunk, type Chunk, type Column } from "./statements";

/** Lines that are put into one part of the file: between two of them the page can be used. */
const LINES = 5000;

export class Download {
  running = $state(false);
  done = $state(0);
  trouble = $state.raw<unknown>(null);
  private stop: AbortController | null = null;

  async start(id: string, name: string, columns: Column[], chunks: Chunk[]): Promise<void> {
    if (this.running) return;
    const stop = (this.stop = new AbortController());
    this.running = true;
    this.done = 0;
    this.trouble = null;
    try {
      const parts: BlobPart[] = [line(columns.map((one) => one.name))];
      for (const one of chunks) {
        const rows = one.row_count ? await chunk(id, one.chunk_index, stop.signal) : [];
        for (let at = 0; at < rows.length; at += LINES) {
          // As a Blob at once: the browser may keep it on the disk.
          parts.push(new Blob([rows.slice(at, at + LINES).map(line).join("")]));
          this.done += Math.min(LINES, rows.length - at);
          await new Promise((next) => setTimeout(next));
          stop.signal.throwIfAborted();
        }
      }
      download(new Blob(parts, { type: "text/csv;charset=utf-8" }), fileName(name));
    } catch (error) {
      if (!stop.signal.aborted) this.trouble = error;
    }
    this.running = false;
  }

  cancel(): void {
    this.stop?.abort();
  }
}
