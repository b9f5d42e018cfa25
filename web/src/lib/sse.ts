// Reads server-sent events: bytes in, the `data` of each event out.  https://html.spec.whatwg.org/#parsing-an-event-stream

/** Most characters that one event may have: a server that never ends one must not fill the memory. */
export const MOST = 8 * 1024 * 1024;

/** Feed it the pieces as they arrive, however they are cut. */
export class EventReader {
  #decoder = new TextDecoder();
  #line = "";
  #data: string[] = [];
  #size = 0;
  #afterReturn = false;

  /** The data of the events that this piece completes.  Throws RangeError for an event that is too long. */
  push(piece: Uint8Array): string[] {
    return this.#take(this.#decoder.decode(piece, { stream: true }));
  }

  /** What is left at the end: an event that was not ended by an empty line is not one. */
  get unfinished(): boolean {
    return this.#data.length > 0 || this.#line !== "";
  }

  #take(text: string): string[] {
    const out: string[] = [];
    let start = 0;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code !== 10 && code !== 13) {
        this.#afterReturn = false;
        continue;
      }
      if (code === 10 && this.#afterReturn) {
        this.#afterReturn = false;
        start = at + 1;
        continue;
      }
      this.#afterReturn = code === 13;
      const event = this.#end(this.#line + text.slice(start, at));
      this.#line = "";
      if (event !== null) out.push(event);
      start = at + 1;
    }
    this.#line += text.slice(start);
    if (this.#line.length + this.#size > MOST) throw new RangeError(`an event is longer than ${MOST} characters`);
    return out;
  }

  #end(line: string): string | null {
    if (line === "") {
      if (this.#data.length === 0) return null;
      const event = this.#data.join("\n");
      this.#data = [];
      this.#size = 0;
      return event;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== "data") return null;
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    this.#data.push(value);
    this.#size += value.length;
    return null;
  }
}

/** The events of a response's body until it ends.  Stops reading when the caller stops asking. */
export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const events = new EventReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const event of events.push(value)) yield event;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
