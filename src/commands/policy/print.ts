/** Words for a terminal. */
import { terminalSafe } from '../../terminal.js';

/** Print lines for a person. What came from a policy, a log or a call can't steer the terminal. */
export function print(lines: readonly string[], to: NodeJS.WritableStream = process.stdout): void {
  to.write(terminalSafe()(Buffer.from(`${lines.join('\n')}\n`)));
}

/** Print a value for a program. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Columns as wide as their widest cell; the last one is not padded. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
