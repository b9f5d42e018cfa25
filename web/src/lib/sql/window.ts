// Which rows of a long table are in sight.  Browsers know no element of more than some 16 to 33 million pixels: beyond
// MOST the way of the scroll bar is shorter than that of the rows, and stands for it in proportion.

export const MOST = 12_000_000;

export interface Sight {
  first: number;
  /** One past the last. */
  last: number;
  /** Where the first is drawn, from the top of all rows' element. */
  top: number;
}

export function bodyHeight(count: number, row: number): number {
  return Math.min(MOST, count * row);
}

export function sight(scroll: number, view: number, count: number, row: number, beyond = 8): Sight {
  const real = realScroll(scroll, view, count, row);
  const first = Math.max(0, Math.min(count, Math.floor(real / row)) - beyond);
  const last = Math.min(count, Math.ceil((real + view) / row) + beyond);
  return { first, last: Math.max(first, last), top: first * row - real + Math.max(0, scroll) };
}

/** The scroll position as if no element were too high. */
function realScroll(scroll: number, view: number, count: number, row: number): number {
  const drawn = bodyHeight(count, row) - view;
  const real = count * row - view;
  const inside = Math.max(0, scroll);
  return drawn <= 0 || real <= 0 ? 0 : real <= drawn ? inside : Math.min(real, (inside / drawn) * real);
}

/** Where to scroll so that a row is in sight; the same place when it is. */
export function scrollTo(index: number, scroll: number, view: number, count: number, row: number): number {
  const real = realScroll(scroll, view, count, row);
  const top = index * row;
  if (top >= real && top + row <= real + view) return scroll;
  const wanted = top < real ? top : top + row - view;
  const drawn = bodyHeight(count, row) - view;
  const all = count * row - view;
  return all <= 0 ? 0 : all <= drawn ? wanted : (wanted / all) * drawn;
}

/** Which columns are in sight, and how wide those before them are. */
export function across(scroll: number, view: number, widths: number[]): { first: number; last: number; left: number } {
  let left = 0;
  let first = 0;
  while (first < widths.length - 1 && left + (widths[first] ?? 0) < scroll) left += widths[first++] ?? 0;
  let last = first;
  for (let at = left; last < widths.length && at < scroll + view + 100; last++) at += widths[last] ?? 0;
  return { first, last, left };
}
