/** Verdicts of attacks, with all layers and with each one off, as a table and as judgements. */

import type { Layer } from '../../src/backends/layers.js';
import type { Tier } from '../../src/sandbox.js';
import type { Verdict } from '../attack/goals.js';

export interface Row {
  readonly goal: string;
  readonly name: string;
  readonly byTwo: boolean;
  /** Whether this tier promises to stop it. */
  readonly promised: boolean;
  /** Whether it succeeds without any sandbox, here, as this user; null where that was not asked. */
  readonly outside: boolean | null;
  readonly all: Verdict;
  /** What came of it with one layer off; a layer that was not tried is not there. */
  readonly without: Readonly<Partial<Record<Layer, Verdict>>>;
  /** What was got, by the layer that was off, or `all`. */
  readonly why: Readonly<Record<string, string>>;
}

export interface Matrix {
  readonly tier: Tier;
  readonly user: string;
  readonly layers: readonly Layer[];
  readonly rows: readonly Row[];
}

export interface Judgement {
  /** With every layer on. */
  readonly through: readonly Row[];
  /** Attacks that one layer alone stops, and that are to be stopped by two; the ones that are known, and the others. */
  readonly single: readonly { readonly row: Row; readonly layer: Layer; readonly why: string | null }[];
}

/** @param whyOnly why one layer is all there is, or null */
export function judge(
  { tier, rows }: Matrix,
  whyOnly: (tier: Tier, layer: Layer, goal: string, attack: string) => string | null,
): Judgement {
  return {
    through: rows.filter(({ all, promised }) => promised && all !== 'stopped'),
    single: rows.flatMap((row) =>
      openedBy(row)
        .filter(() => row.promised && row.byTwo && row.all === 'stopped')
        .map((layer) => ({ row, layer, why: whyOnly(tier, layer, row.goal, row.name) })),
    ),
  };
}

/** The layers without which an attack gets through. */
function openedBy(row: Row): Layer[] {
  return (Object.entries(row.without) as [Layer, Verdict][])
    .filter(([, verdict]) => verdict === 'through')
    .map(([layer]) => layer);
}

const MARK: Readonly<Record<Verdict, string>> = { stopped: '.', through: 'X', odd: '?' };

/** One row an attack that some layer alone stops (or each, if `full`), and one a goal with the number that gets through. */
export function print({ tier, user, layers, rows }: Matrix, full: boolean): string {
  const width = 62;
  const heads = layers.map((layer) => layer.replace(' namespace', '').slice(0, 8));
  const line = (name: string, cells: readonly (string | number)[]) =>
    `${name.slice(0, width - 1).padEnd(width)}${cells.map((cell) => String(cell).padStart(9)).join('')}`;
  const out = [
    `\ntier ${tier}, as ${user}: ${rows.length} attacks; how many get through`,
    line('', ['outside', 'inside', ...heads]),
  ];
  const sum = (chosen: readonly Row[], title: string) => {
    const outside = chosen.filter((row) => row.outside === true).length;
    const cells = layers.map((layer) => {
      const tried = chosen.filter((row) => row.without[layer] !== undefined);
      return tried.length === 0 ? '' : tried.filter((row) => row.without[layer] === 'through').length;
    });
    out.push(line(title, [outside, chosen.filter(({ all }) => all !== 'stopped').length, ...cells]));
  };
  for (const goal of new Set(rows.map((row) => row.goal))) {
    sum(
      rows.filter((row) => row.goal === goal),
      `${goal} (${rows.filter((row) => row.goal === goal).length})`,
    );
  }
  sum(rows, 'all');
  const shown = rows.filter(
    (row) => full || row.all !== 'stopped' || Object.values(row.without).some((verdict) => verdict !== 'stopped'),
  );
  out.push(
    '',
    line(full ? 'each attack' : 'attacks that a missing layer lets through (X), or ends otherwise (?)', [
      'outside',
      'inside',
      ...heads,
    ]),
  );
  for (const row of shown) {
    const cells = layers.map((layer) => {
      const verdict = row.without[layer];
      return verdict === undefined ? '' : MARK[verdict];
    });
    out.push(
      line(`${row.goal}: ${row.name}${row.promised ? '' : ' (not promised)'}`, [
        row.outside === null ? '' : row.outside ? 'X' : '.',
        MARK[row.all],
        ...cells,
      ]),
    );
  }
  return out.join('\n');
}
