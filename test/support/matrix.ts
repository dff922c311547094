/** Verdicts of attacks, with all layers and with each one off, as a table and as judgements. */

import type { Layer } from '../../src/backends/layers.js';
import type { Tier } from '../../src/sandbox.js';
import type { Need } from '../attack/attack.js';
import type { Verdict } from '../attack/goals.js';

export interface Row {
  readonly goal: string;
  readonly name: string;
  readonly byTwo: boolean;
  /** Whether this tier promises to stop it. */
  readonly promised: boolean;
  /** What this user or this kernel may lack for it; null for nothing: then it has to succeed outside. */
  readonly needs: Need | null;
  /** Whether it succeeds without any sandbox, here, as this user; null where that was not asked. */
  readonly outside: boolean | null;
  readonly all: Verdict;
  /** What came of it with one layer off; a layer that was not tried is not there. */
  readonly without: Readonly<Partial<Record<Layer, Verdict>>>;
  /** How long it took, by the layer that was off, or `all`. Milliseconds, with others at the same time. */
  readonly ms: Readonly<Record<string, number>>;
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
  /** All that the tier promises to stop. */
  readonly promised: number;
  /** With every layer on, of what is promised. */
  readonly through: readonly Row[];
  /** With every layer on, of what is not promised. */
  readonly open: readonly Row[];
  /** Ended in a way that says nothing, by the layer that was off, or `all`. */
  readonly odd: readonly { readonly row: Row; readonly where: string }[];
  /** Stopped whichever layer is off, of what is promised. */
  readonly byEach: number;
  /** Attacks that one layer alone stops, and that are to be stopped by two; why that is known, or null. */
  readonly single: readonly { readonly row: Row; readonly layer: Layer; readonly why: string | null }[];
  /** That should succeed outside and do not. */
  readonly noControl: readonly Row[];
  /** That can't succeed outside, for this user or on this kernel. */
  readonly lacking: readonly Row[];
}

/** @param whyOnly why one layer is all there is, or null */
export function judge(
  { tier, user, rows }: Matrix,
  whyOnly: (tier: Tier, user: string, layer: Layer, goal: string, attack: string) => string | null,
): Judgement {
  const promised = rows.filter((row) => row.promised);
  const failing = rows.filter(({ outside }) => outside === false);
  const isRoot = user === 'root';
  const mayLack = ({ needs }: Row) => needs?.endsWith('kernel') === true || (needs === 'root' && !isRoot);
  return {
    promised: promised.length,
    through: promised.filter(({ all }) => all !== 'stopped'),
    open: rows.filter((row) => !row.promised && row.all !== 'stopped'),
    odd: rows.flatMap((row) =>
      Object.entries({ all: row.all, ...row.without })
        .filter(([, verdict]) => verdict === 'odd')
        .map(([where]) => ({ row, where })),
    ),
    byEach: promised.filter((row) => row.all === 'stopped' && openedBy(row).length === 0).length,
    single: promised.flatMap((row) =>
      openedBy(row)
        .filter(() => row.byTwo && row.all === 'stopped')
        .map((layer) => ({ row, layer, why: whyOnly(tier, user, layer, row.goal, row.name) })),
    ),
    noControl: failing.filter((row) => !mayLack(row)),
    lacking: failing.filter(mayLack),
  };
}

const LINE_LENGTH = 150;

/** A title with the number of the attacks, then their names, goal by goal, in lines of a length to read; nothing for none. */
function listed(title: string, rows: readonly Row[]): string[] {
  if (rows.length === 0) return [];
  const lines = [`${title} (${rows.length}):`];
  for (const goal of new Set(rows.map((row) => row.goal))) {
    let line = `  ${goal}:`;
    for (const name of rows.filter((row) => row.goal === goal).map((row) => row.name)) {
      if (line.length + name.length > LINE_LENGTH) {
        lines.push(line);
        line = '   ';
      }
      line += ` ${name};`;
    }
    lines.push(line.replace(/;$/, ''));
  }
  return lines;
}

/** What is to be said of it, and whether anything is not as it should be. `loud`: also what was got of what one layer stops. */
export function verdictOf(found: Judgement, loud: boolean): { readonly lines: string[]; readonly failed: boolean } {
  const called = ({ goal, name }: Row) => `${goal}: ${name}`;
  const got = (row: Row, where: string) => (row.why[where] === undefined ? '' : `: ${row.why[where]}`);
  const lines = [
    `${found.promised - found.through.length} of ${found.promised} stopped with all layers; ${found.byEach} of them whichever layer is off`,
    ...listed('not promised here, and not stopped', found.open),
    ...listed(
      'no control, for this user has not the right',
      found.lacking.filter(({ needs }) => needs === 'root'),
    ),
    ...listed(
      'no control, for this kernel has it not, or not for this user',
      found.lacking.filter(({ needs }) => needs !== 'root'),
    ),
  ];
  // What is stopped by one layer for the same reason is said once.
  const known = new Map<string, Row[]>();
  for (const { row, layer, why } of found.single) {
    if (why === null) continue;
    const title = `only ${layer}, for ${why}`;
    known.set(title, [...(known.get(title) ?? []), row]);
    if (loud) lines.push(`only ${layer}: ${called(row)}${got(row, layer)}`);
  }
  for (const [title, rows] of known) lines.push(...listed(title, rows));
  const faults = [
    ...found.through.map((row) => `GETS THROUGH ${called(row)}${got(row, 'all')}`),
    ...found.odd.map(({ row, where }) => `UNCLEAR, ${where}: ${called(row)}${got(row, where)}`),
    ...found.single
      .filter(({ why }) => why === null)
      .map(({ row, layer }) => `ONE LAYER ONLY, ${layer}: ${called(row)}${loud ? got(row, layer) : ''}`),
    ...found.noControl.map((row) => `NO CONTROL ${called(row)}: it should succeed without a sandbox, and does not`),
  ];
  return { lines: [...lines, ...faults], failed: faults.length > 0 };
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
