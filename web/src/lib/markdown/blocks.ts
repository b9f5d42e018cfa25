// Cuts growing Markdown into blocks that do not change any more, so that a long answer is not read anew with every token.
// Pure.

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const LIST = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;

/** Feed it the text as it grows; `blocks` only ever gets longer, `tail` is what may still change. */
export class Blocks {
  blocks: string[] = [];
  #text = "";
  /** Where the tail begins, and up to where whole lines have been looked at. */
  #start = 0;
  #seen = 0;
  #fence = "";
  #list = false;
  #blank = false;

  get tail(): string {
    return this.#text.slice(this.#start);
  }

  /** The whole text so far; a text that does not continue the one before begins anew. */
  update(text: string): void {
    if (!text.startsWith(this.#text)) {
      this.blocks = [];
      this.#start = this.#seen = 0;
      this.#fence = "";
      this.#list = this.#blank = false;
    }
    this.#text = text;
    for (let end = text.indexOf("\n", this.#seen); end >= 0; end = text.indexOf("\n", this.#seen)) {
      this.#line(text.slice(this.#seen, end), this.#seen);
      this.#seen = end + 1;
    }
  }

  #line(line: string, at: number): void {
    const fence = FENCE.exec(line)?.[1] ?? "";
    if (this.#fence) {
      const closes = fence[0] === this.#fence[0] && fence.length >= this.#fence.length && line.trim() === fence;
      if (closes) this.#fence = "";
      return;
    }
    if (line.trim() === "") {
      this.#blank = true;
      return;
    }
    const continues = this.#list && (LIST.test(line) || /^\s/.test(line));
    if (this.#blank && !continues) {
      if (at > this.#start) this.blocks.push(this.#text.slice(this.#start, at));
      this.#start = at;
      this.#list = false;
    }
    this.#blank = false;
    if (LIST.test(line)) this.#list = true;
    this.#fence = fence;
  }
}
