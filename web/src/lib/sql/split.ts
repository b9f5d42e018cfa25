// Statements of a text, cut at its semicolons: not those in texts, names and comments.  What is not closed goes to the
// end; the server says what is wrong with it.

export interface Piece {
  text: string;
  /** Where it begins and ends in the whole text. */
  from: number;
  to: number;
  /** Lines before it in the whole text, and characters before it in its first line. */
  line: number;
  column: number;
}

/** Statements of a part of a text, with their places in the whole. */
export function splitPart(text: string, from: number, to: number): Piece[] {
  return split(text.slice(from, to)).map((one) => placed(text, one.from + from, one.to + from));
}

/** What is between two places of a text, as a piece of it. */
export function placed(text: string, from: number, to: number): Piece {
  const start = text.lastIndexOf("\n", from - 1) + 1;
  const line = text.slice(0, start).split("\n").length - 1;
  return { text: text.slice(from, to), from, to, line, column: [...text.slice(start, from)].length };
}

/** A message with its place as it is in the whole text: the server knows the statement alone. */
export function inWhole(message: string, piece: Piece, line: number, column: number): string {
  const there = `(line ${line}, column ${column})`;
  return message.replace(there, () => `(line ${line + piece.line}, column ${line === 1 ? column + piece.column : column})`);
}

/** The statements in order; what is only space and comment is none. */
export function split(text: string): Pick<Piece, "text" | "from" | "to">[] {
  const out: { text: string; from: number; to: number }[] = [];
  let begin = -1;
  let end = 0;
  const close = () => {
    if (begin >= 0) out.push({ text: text.slice(begin, end), from: begin, to: end });
    begin = -1;
  };
  for (let at = 0; at < text.length; ) {
    const next = skip(text, at);
    if (text[at] === ";") close();
    else if (!isComment(text, at) && !/\s/.test(text[at] ?? "")) {
      if (begin < 0) begin = at;
      end = next;
    }
    at = next;
  }
  close();
  return out;
}

/** The statement in which a place is, else the one before it. */
export function pieceAt<T extends { to: number }>(pieces: T[], place: number): T | undefined {
  return pieces.find((one) => place <= one.to) ?? pieces[pieces.length - 1];
}

/** Where a line and column (from 1) of a statement are in the whole text, and the end of the word there. */
export function placeIn(piece: { text: string; from: number }, line: number, column: number): { from: number; to: number } {
  let at = 0;
  for (let left = line - 1; left > 0; left--) {
    const end = piece.text.indexOf("\n", at);
    if (end < 0) break;
    at = end + 1;
  }
  const end = piece.text.indexOf("\n", at);
  // Columns count characters, and JavaScript counts halves of those beyond 16 bits.
  const before = [...piece.text.slice(at, end < 0 ? undefined : end)].slice(0, Math.max(0, column - 1)).join("");
  const start = Math.min(at + before.length, Math.max(0, piece.text.length - 1));
  const word = /^(?:'[^'\n]*'?|`[^`\n]*`?|[\p{L}\p{N}_]+|[^\s])/u.exec(piece.text.slice(start));
  return { from: piece.from + start, to: piece.from + Math.min(piece.text.length, start + (word?.[0].length ?? 1)) };
}

function isComment(text: string, at: number): boolean {
  return text.startsWith("--", at) || text.startsWith("/*", at);
}

/** The end of what begins here: a text, a name, a comment, or one character. */
export function skip(text: string, at: number): number {
  const first = text[at];
  if (first === "'" || first === '"') return quoted(text, at, first, !raw(text, at));
  if (first === "`") return quoted(text, at, first, false);
  if (text.startsWith("$$", at)) return after(text, "$$", at + 2);
  if (text.startsWith("--", at)) return after(text, "\n", at);
  if (text.startsWith("/*", at)) return comment(text, at);
  return at + 1;
}

function after(text: string, mark: string, at: number): number {
  const found = text.indexOf(mark, at);
  return found < 0 ? text.length : found + mark.length;
}

/** r'\' is a text of one character. */
function raw(text: string, at: number): boolean {
  return /(?:^|[^\p{L}\p{N}_])[rR]$/u.test(text.slice(Math.max(0, at - 3), at));
}

function quoted(text: string, at: number, mark: string, escapes: boolean): number {
  for (let i = at + 1; i < text.length; i++) {
    if (escapes && text[i] === "\\") i++;
    else if (text[i] === mark) {
      if (text[i + 1] !== mark) return i + 1;
      i++;
    }
  }
  return text.length;
}

/** Comments may be within comments. */
function comment(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    if (text.startsWith("/*", i)) {
      depth++;
      i++;
    } else if (text.startsWith("*/", i)) {
      depth--;
      i++;
      if (!depth) return i + 1;
    }
  }
  return text.length;
}
