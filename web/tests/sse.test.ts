// The reader of event streams: however the bytes are cut, the events are the same.
import { describe, expect, it } from "vitest";
import { EventReader, eventsOf, MOST } from "../src/lib/sse";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const STREAM = ': hello\ndata: {"a": "ñ→🙂"}\r\n\r\nevent: x\rdata: one\rdata:two\r\rid: 3\ndata\n\ndata: [DONE]\n\n';
const EVENTS = ['{"a": "ñ→🙂"}', "one\ntwo", "", "[DONE]"];

describe("EventReader", () => {
  it("reads what the standard says", () => {
    expect(new EventReader().push(bytes(STREAM))).toEqual(EVENTS);
  });

  it("gives the same byte by byte", () => {
    const reader = new EventReader();
    const found = [...bytes(STREAM)].flatMap((byte) => reader.push(Uint8Array.of(byte)));
    expect(found).toEqual(EVENTS);
    expect(reader.unfinished).toBe(false);
  });

  it.each([...Array(bytes(STREAM).length).keys()])("gives the same cut at %i", (at) => {
    const reader = new EventReader();
    const all = bytes(STREAM);
    expect([...reader.push(all.slice(0, at)), ...reader.push(all.slice(at))]).toEqual(EVENTS);
  });

  it("does not count an event that the end cut off", () => {
    const reader = new EventReader();
    expect(reader.push(bytes("data: half"))).toEqual([]);
    expect(reader.unfinished).toBe(true);
  });

  it("refuses an event without an end", () => {
    const reader = new EventReader();
    expect(() => reader.push(bytes("data: " + "x".repeat(MOST)))).toThrow(RangeError);
  });
});

describe("eventsOf", () => {
  it("lets go of the body when the caller stops", async () => {
    let left = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(bytes("data: again\n\n")),
      cancel: () => {
        left = true;
      },
    });
    for await (const event of eventsOf(body)) {
      expect(event).toBe("again");
      break;
    }
    expect(left).toBe(true);
  });
});
