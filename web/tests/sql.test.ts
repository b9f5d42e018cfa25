// The pure parts of the SQL page: cutting statements, places of errors, CSV, values, the window over a long table, and what
// the browser keeps.
import { describe, expect, it } from "vitest";
import { isNumber, pretty, short, widths } from "../src/lib/sql/cells";
import { fileName, line } from "../src/lib/sql/csv";
import { tablesIn, wantedAt } from "../src/lib/sql/functions";
import { HISTORY, merge, NOTHING, sound, type Draft, type Kept } from "../src/lib/sql/keep";
import { inWhole, pieceAt, placed, placeIn, split, splitPart } from "../src/lib/sql/split";
import { across, bodyHeight, MOST, scrollTo, sight } from "../src/lib/sql/window";

const texts = (text: string): string[] => split(text).map((one) => one.text);

describe("split", () => {
  it.each<[string, string[]]>([
    ["", []],
    [" ;;\n; ", []],
    ["-- nothing;\n/* nor; here */", []],
    ["SELECT 1", ["SELECT 1"]],
    ["SELECT 1;\n SELECT 2 ;", ["SELECT 1", "SELECT 2"]],
    ["SELECT 'a;b', \"c;d\", `e;f`; SELECT 2", ["SELECT 'a;b', \"c;d\", `e;f`", "SELECT 2"]],
    ["SELECT 'it''s; so'; SELECT 2", ["SELECT 'it''s; so'", "SELECT 2"]],
    [String.raw`SELECT 'a\';b'; SELECT 2`, [String.raw`SELECT 'a\';b'`, "SELECT 2"]],
    [String.raw`SELECT r'\'; SELECT 2`, [String.raw`SELECT r'\'`, "SELECT 2"]],
    [String.raw`SELECT or'\';b'`, [String.raw`SELECT or'\';b'`]],
    ["SELECT `a``;b`; SELECT 2", ["SELECT `a``;b`", "SELECT 2"]],
    ["SELECT $$a;b$$; SELECT 2", ["SELECT $$a;b$$", "SELECT 2"]],
    ["SELECT 1 -- one; two\n; SELECT 2", ["SELECT 1", "SELECT 2"]],
    ["SELECT /* a; /* b; */ c; */ 1; SELECT 2", ["SELECT /* a; /* b; */ c; */ 1", "SELECT 2"]],
    ["-- first;\nSELECT 1", ["SELECT 1"]],
    ["SELECT 1 - -1; SELECT 2", ["SELECT 1 - -1", "SELECT 2"]],
    ["SELECT 'never closed; SELECT 2", ["SELECT 'never closed; SELECT 2"]],
    ["SELECT /* never closed; SELECT 2", ["SELECT"]],
    ["SELECT 'ñ🙂;'; SELECT '🙂'", ["SELECT 'ñ🙂;'", "SELECT '🙂'"]],
  ])("%j", (text, expected) => {
    expect(texts(text)).toEqual(expected);
  });

  it("says where each is in the text", () => {
    const text = "  SELECT 1; -- x\n\n  SELECT ';'  ;";
    for (const one of split(text)) expect(text.slice(one.from, one.to)).toBe(one.text);
  });

  it("takes time in proportion to the text", () => {
    const text = "SELECT 'a;b' /* c */ -- d\n;".repeat(20_000);
    const begin = performance.now();
    expect(split(text)).toHaveLength(20_000);
    expect(performance.now() - begin).toBeLessThan(3000);
  });

  it("finds the statement at the cursor", () => {
    const pieces = split("SELECT 1; SELECT 2;");
    expect(pieceAt(pieces, 0)?.text).toBe("SELECT 1");
    expect(pieceAt(pieces, 8)?.text).toBe("SELECT 1");
    expect(pieceAt(pieces, 12)?.text).toBe("SELECT 2");
    expect(pieceAt(pieces, 19)?.text).toBe("SELECT 2");
    expect(pieceAt([], 3)).toBeUndefined();
  });
});

describe("the place of an error", () => {
  it("is told in the whole text, also of a part of it", () => {
    const whole = "SELECT 1;\n  '🙂'; SELECT\n  nope";
    const [, second] = splitPart(whole, 10, whole.length);
    expect(second).toEqual(placed(whole, whole.indexOf("SELECT\n"), whole.length));
    expect(second).toMatchObject({ line: 1, column: 7 });
    expect(inWhole("no (line 1, column 2): see", second!, 1, 2)).toBe("no (line 2, column 9): see");
    expect(inWhole("no (line 2, column 3): see", second!, 2, 3)).toBe("no (line 3, column 3): see");
    expect(inWhole("no place $&", second!, 2, 3)).toBe("no place $&");
  });

  const text = "SELECT 1;\nSELECT\n  '🙂', nope";
  const piece = split(text)[1]!;
  it("is in the whole text, its word marked, and characters beyond 16 bits count once", () => {
    const { from, to } = placeIn(piece, 2, 8);
    expect(text.slice(from, to)).toBe("nope");
  });
  it.each([
    [1, 1],
    [99, 1],
    [2, 999],
    [0, 0],
  ])("stays in the statement (line %i, column %i)", (row, column) => {
    const { from, to } = placeIn(piece, row, column);
    expect(from).toBeGreaterThanOrEqual(piece.from);
    expect(to).toBeLessThanOrEqual(piece.to);
    expect(to).toBeGreaterThan(from);
  });
});

describe("CSV", () => {
  it.each<[(string | null)[], string]>([
    [["a", "b"], "a,b\r\n"],
    [["a,b", 'say "hi"'], '"a,b","say ""hi"""\r\n'],
    [["two\nlines", "two\r\nlines", "\r"], '"two\nlines","two\r\nlines","\r"\r\n'],
    [[null, "", "x"], ',"",x\r\n'],
    [[""], '""\r\n'],
    [[null], "\r\n"],
    [["=1+1", "+1", "-1", "@x"], "=1+1,+1,-1,@x\r\n"],
    [[" x", "x "], '" x","x "\r\n'],
    [["ñ🙂", "\u2028"], 'ñ🙂,"\u2028"\r\n'],
  ])("%j", (cells, expected) => {
    expect(line(cells)).toBe(expected);
  });
  it("names the file as any system takes it", () => {
    expect(fileName("Query 1")).toBe("Query 1.csv");
    expect(fileName('../a\\b:c*?"<>|\u0000')).not.toMatch(/[\\/:*?"<>|\u0000]/);
    expect(fileName("...")).toBe("result.csv");
    expect(fileName("  ")).toBe("result.csv");
  });
});

describe("values", () => {
  it.each(["INT", "BIGINT", "DECIMAL(10,2)", "DOUBLE", "FLOAT", "TINYINT"])("%s is a number", (type) => {
    expect(isNumber(type)).toBe(true);
  });
  it.each(["STRING", "INTERVAL DAY", "ARRAY<INT>", "DATE", "BOOLEAN"])("%s is none", (type) => {
    expect(isNumber(type)).toBe(false);
  });
  it("are cut on one line, never within a character", () => {
    expect(short("a\nb\r\nc\td")).toBe("a↵b↵c⇥d");
    const cut = short(`${"a".repeat(299)}🙂🙂`);
    expect(cut).toBe(`${"a".repeat(299)}…`);
    expect(short("x".repeat(300))).toBe("x".repeat(300));
  });
  it("are pretty when they are JSON, and their digits stay", () => {
    expect(pretty('{"a":[1,{"b":12345678901234567890}],"c":{},"d":[],"e":"x, [y]"}', "STRING")).toBe(
      '{\n  "a": [\n    1,\n    {\n      "b": 12345678901234567890\n    }\n  ],\n  "c": {},\n  "d": [],\n  "e": "x, [y]"\n}',
    );
    expect(pretty("[1,2]", "ARRAY<INT>")).toBe("[\n  1,\n  2\n]");
    expect(pretty("plain", "STRING")).toBeNull();
    expect(pretty("{not json", "STRING")).toBeNull();
    expect(pretty("12", "INT")).toBeNull();
    expect(pretty('{"a\\"}":"\\\\"}', "STRING")).toBe('{\n  "a\\"}": "\\\\"\n}');
  });
  it("have columns that fill the room, and no more than they need", () => {
    const columns = [{ name: "id", type_text: "INT" }, { name: "text", type_text: "STRING" }];
    const [id, text] = widths(columns, [["1", "x".repeat(1000)]], 1000);
    expect(id).toBe(72);
    expect(text).toBe(928);
    expect(widths(columns, [["1", "x"]], 1000)).toEqual(widths(columns, [["1", "x"]], 200));
    expect(widths(columns, [], 1000)).toHaveLength(2);
    expect(Math.max(...widths(columns, [["1", "x".repeat(1000)]], 300))).toBe(240);
    expect(Math.max(...widths(columns, [["1", "x".repeat(1000)]]))).toBe(420);
  });
});

describe("the window over the rows", () => {
  it("holds what is in sight and a few beyond", () => {
    expect(sight(0, 320, 100_000, 32)).toEqual({ first: 0, last: 18, top: 0 });
    expect(sight(3200, 320, 100_000, 32)).toEqual({ first: 92, last: 118, top: 92 * 32 });
    expect(sight(0, 320, 3, 32)).toEqual({ first: 0, last: 3, top: 0 });
    expect(sight(0, 320, 0, 32)).toEqual({ first: 0, last: 0, top: 0 });
    expect(sight(-50, 320, 100, 32).first).toBe(0);
  });
  it("reaches the last row", () => {
    for (const count of [1, 10, 100_000, 10_000_000]) {
      const bottom = Math.max(0, bodyHeight(count, 32) - 320);
      const seen = sight(bottom, 320, count, 32);
      expect(seen.last).toBe(count);
      // Its lower edge is the lower edge of the element.
      expect(seen.top + (seen.last - seen.first) * 32).toBeCloseTo(bodyHeight(count, 32), 3);
    }
  });
  it("never draws many rows, however many there are", () => {
    for (let at = 0; at <= MOST; at += MOST / 37) {
      const seen = sight(at, 320, 10_000_000, 32);
      expect(seen.last - seen.first).toBeLessThanOrEqual(27);
    }
  });
  it.each([100, 100_000, 10_000_000])("brings any of %i rows into sight", (count) => {
    for (const index of [0, 1, 57, Math.floor(count / 3), count - 1]) {
      if (index >= count) continue;
      const scroll = scrollTo(index, bodyHeight(count, 32) / 2, 320, count, 32);
      const seen = sight(scroll, 320, count, 32, 0);
      expect(index).toBeGreaterThanOrEqual(seen.first);
      expect(index).toBeLessThan(seen.last);
    }
    const place = scrollTo(5, 0, 320, count, 32);
    expect(place).toBe(0);
  });
  it("takes the columns in sight alone", () => {
    const widths = Array.from({ length: 500 }, () => 100);
    expect(across(0, 800, widths)).toEqual({ first: 0, last: 9, left: 0 });
    const middle = across(25_000, 800, widths);
    expect(middle.first).toBeLessThanOrEqual(250);
    expect(middle.last - middle.first).toBeLessThanOrEqual(11);
    expect(middle.left).toBe(middle.first * 100);
    expect(across(49_200, 800, widths).last).toBe(500);
    expect(across(0, 800, [])).toEqual({ first: 0, last: 0, left: 0 });
  });
});

describe("completion", () => {
  it("offers endpoints within ai_query, tables after FROM, words elsewhere", () => {
    expect(wantedAt("SELECT ai_query('data")).toEqual({ kind: "endpoint", from: 17, typed: "data" });
    expect(wantedAt("SELECT AI_QUERY( endpoint => '")?.kind).toBe("endpoint");
    expect(wantedAt("SELECT ai_query('a', 'b")).toBeNull();
    expect(wantedAt("SELECT * FROM my_t")).toEqual({ kind: "table", from: 14, typed: "my_t" });
    expect(wantedAt("SELECT ai_")).toEqual({ kind: "word", from: 7, typed: "ai_" });
  });
  it("knows the tables of a statement", () => {
    expect(tablesIn("SELECT * FROM a.b JOIN `c d` ON 1=1 JOIN a.b")).toEqual(["a.b", "`c d`"]);
    expect(tablesIn("SELECT 1")).toEqual([]);
  });
});

describe("what the browser keeps", () => {
  const draft = (id: string, updated: number, text = ""): Draft => ({ id, name: id, text, updated, session: "", ran: [] });
  const kept = (more: Partial<Kept>): Kept => ({ ...structuredClone(NOTHING), ...more });

  it.each([null, 7, "x", [], { drafts: 3 }, { drafts: [null, { id: 1 }], history: [{}], options: null, gone: null }])(
    "is sound whatever was found there: %j",
    (found) => {
      expect(sound(found)).toEqual(NOTHING);
    },
  );
  it("takes no options that there are not", () => {
    expect(sound({ options: { rows: 7, answers: "maybe" } }).options).toEqual(NOTHING.options);
    expect(sound({ options: { rows: 0, answers: "keep" } }).options).toEqual({ rows: 0, answers: "keep" });
  });
  it("loses nothing of two windows: the newer text of each query, and both's own", () => {
    const mine = kept({ drafts: [draft("a", 2, "newer"), draft("b", 1)], open: "b" });
    const theirs = kept({ drafts: [draft("a", 1, "older"), draft("c", 9, "theirs")], open: "c" });
    const both = merge(mine, theirs);
    expect(both.drafts.map((one) => [one.id, one.text])).toEqual([["a", "newer"], ["b", ""], ["c", "theirs"]]);
    expect(both.open).toBe("b");
    expect(merge(theirs, mine).drafts.find((one) => one.id === "a")?.text).toBe("newer");
  });
  it("does not bring back what was deleted", () => {
    const mine = kept({ drafts: [draft("a", 1)], gone: { b: 5 } });
    expect(merge(mine, kept({ drafts: [draft("a", 1), draft("b", 9)] })).drafts.map((one) => one.id)).toEqual(["a"]);
  });
  it("has the last fifty statements, the newest first", () => {
    const past = (n: number) => ({ id: String(n), text: "x", state: "SUCCEEDED", started: n, ended: n });
    const all = merge(
      kept({ history: Array.from({ length: 40 }, (_, n) => past(n)) }),
      kept({ history: Array.from({ length: 40 }, (_, n) => past(n + 20)) }),
    ).history;
    expect(all).toHaveLength(HISTORY);
    expect(all[0]?.id).toBe("59");
    expect(new Set(all.map((one) => one.id)).size).toBe(HISTORY);
  });
});
