// Tables and times as people read them and scripts cut them: upper-case headings, at least two spaces
// between columns, one item of a list a line. An id is never cut; what is too wide is wrapped.
import { printable } from '../base/printable.ts';

/** A cell, or the lines of one. */
export type Cell = string | readonly string[];

const GUTTER = '  ';
const WRAP_COLUMNS_MIN = 20; // Narrower than this, wrapping hurts more than it helps.

/**
 * @param columns  width to wrap the last column at; 0 never wraps.
 * @returns lines ending with a newline; rows with several lines are followed by an empty one.
 */
export function table(
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
  columns = 0,
): string {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === 'string' ? [cell] : cell).map(printable)),
  );
  const widths = headings.map((heading, i) =>
    Math.max(heading.length, ...cells.map((row) => longest(row[i] ?? []))),
  );
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + GUTTER.length, 0);
  const room = columns - before;
  const wrapped = cells.map((row) => {
    const last = row.at(-1) ?? [];
    return room < WRAP_COLUMNS_MIN
      ? row
      : [...row.slice(0, -1), last.flatMap((text) => wrap(text, room))];
  });
  const lists = wrapped.some((row) => row.some((cell) => cell.length > 1));
  const blocks = wrapped.map((row) => block(row, widths));
  return `${line(headings, widths)}\n${blocks.join(lists ? '\n\n' : '\n')}${blocks.length > 0 ? '\n' : ''}`;
}

function block(row: readonly (readonly string[])[], widths: readonly number[]): string {
  const height = Math.max(...row.map((cell) => cell.length));
  return Array.from({ length: height }, (_, i) =>
    line(
      row.map((cell) => cell[i] ?? ''),
      widths,
    ),
  ).join('\n');
}

function line(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, i) => cell.padEnd(widths[i] ?? 0))
    .join(GUTTER)
    .trimEnd();
}

function longest(lines: readonly string[]): number {
  return Math.max(0, ...lines.map((text) => text.length));
}

function wrap(text: string, room: number): string[] {
  const lines: string[] = [];
  for (let at = 0; at < text.length || at === 0; at += room) lines.push(text.slice(at, at + room));
  return lines;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `10:15:25 29-Jan`, local time. */
export function logTime(iso: string): string {
  const date = new Date(iso);
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
  return `${clock} ${date.getDate()}-${MONTHS[date.getMonth()]}`;
}
