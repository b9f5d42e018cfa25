// The rows of a result, a chunk at a time: fetched when somebody looks at them, and only the last few kept.
import type { Row } from "./cells";
import { chunk, type Chunk } from "./statements";

const KEPT = 4;

export class Rows {
  readonly count: number;
  trouble = $state.raw<unknown>(null);
  private version = $state(0);
  private readonly kept = new Map<number, Row[]>();
  private readonly under_way = new Set<number>();

  constructor(
    private readonly id: string,
    private readonly chunks: Chunk[],
  ) {
    this.count = chunks.reduce((most, one) => Math.max(most, one.row_offset + one.row_count), 0);
  }

  /** undefined while it is fetched. */
  row(index: number): Row | undefined {
    void this.version;
    const at = this.chunkOf(index);
    return at && this.kept.get(at.chunk_index)?.[index - at.row_offset];
  }

  /** Have the chunks of these rows fetched. */
  need(first: number, last: number): void {
    if (last <= first || this.trouble) return;
    for (const one of this.chunks) {
      if (one.row_count && one.row_offset < last && one.row_offset + one.row_count > first) void this.load(one.chunk_index);
    }
  }

  again(): void {
    this.trouble = null;
    this.version++;
  }

  private chunkOf(index: number): Chunk | undefined {
    let low = 0;
    let high = this.chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.chunks[middle]?.row_offset ?? 0) <= index) low = middle;
      else high = middle - 1;
    }
    return this.chunks[low];
  }

  private async load(index: number): Promise<void> {
    const there = this.kept.get(index);
    if (there) {
      // The one looked at last is the last to go.
      this.kept.delete(index);
      this.kept.set(index, there);
      return;
    }
    if (this.under_way.has(index)) return;
    this.under_way.add(index);
    try {
      const rows = await chunk(this.id, index);
      this.kept.set(index, rows);
      for (const old of this.kept.keys()) {
        if (this.kept.size <= KEPT) break;
        this.kept.delete(old);
      }
    } catch (error) {
      this.trouble = error;
    }
    this.under_way.delete(index);
    this.version++;
  }
}
