// CSV as RFC 4180 has it: UTF-8, lines that end with CRLF, the columns' names first.  NULL is nothing between two commas
// and an empty text is "", so that the two can be told apart.  Values are never changed: one that begins with = + - or @ is
// written as it is, as `tesela sql` writes it.  A spreadsheet may take it for a formula; the page says so.
import type { Cell, Row } from "./cells";

export function line(cells: Row): string {
  // A line with nothing on it would be no row at all to many readers.
  if (cells.length === 1 && cells[0] === null) return "\r\n";
  return `${cells.map(field).join(",")}\r\n`;
}

function field(cell: Cell): string {
  if (cell === null) return "";
  if (cell === "") return '""';
  return /[",\r\n]/.test(cell) || /^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** A file's name for a query's: without what no system takes. */
export function fileName(name: string): string {
  const kept = name.replace(/[\p{Cc}<>:"/\\|?*]+/gu, " ").trim().replace(/^\.+|[. ]+$/g, "").slice(0, 80);
  return `${kept || "result"}.csv`;
}
