/**
 * WGSL loops that add up many floats. Every addition to a running sum of n numbers rounds all of it, and where the
 * numbers are alike, all roundings go the same way: up to n / 2 last places. So eight numbers are added up at a time,
 * eight of these sums, and eight of those: then no sum has more than eight or sixteen terms, and the roundings of
 * thousands of equal numbers stay below four last places. Short sums need fewer loops, and on a CPU each takes time.
 */

/** A loop over numbers. All but the keys of `terms` is WGSL. */
export interface SumLoop {
  /** Name of the loop's variable, a u32. */
  readonly variable: string;
  /** Its first value. */
  readonly begin: string;
  /** Where it ends, exclusively. */
  readonly end: string;
  /** What is added to it in each turn; with 512 times that, no sum of it may exceed a u32. */
  readonly step: string;
  /** Type of the sums. */
  readonly type: string;
  /** What is added in each turn, by the name of the sum; these are declared. */
  readonly terms: Readonly<Record<string, string>>;
  /** Statements before that. */
  readonly body: string;
  /** Loops around the innermost one, see {@linkcode levelsFor}. */
  readonly levels: number;
}

/** Turns of each loop but the outermost. */
const TERMS = 8;

/** Loops around the innermost, at most: the outermost has as many turns as are left. */
const MOST_LEVELS = 3;

/** How many loops there should be around the innermost, for so many turns in all. */
export function levelsFor(turns: number): number {
  let levels = 0;
  while (levels < MOST_LEVELS && turns > 2 * TERMS ** (levels + 1)) levels++;
  return levels;
}

/** The text of a loop, which declares the sums before it. */
export function sumLoop(loop: SumLoop): string {
  return nest(loop, loop.levels, loop.begin, loop.end);
}

/** The sums of a level, which have the level behind their names within the others. */
function nest(loop: SumLoop, level: number, begin: string, end: string): string {
  const { variable, step, type, terms, body, levels } = loop;
  const names = Object.keys(terms);
  const suffix = level === levels ? "" : `_${level}`;
  const declared = names.map((name) => `var ${name}${suffix} = ${type}();`).join(" ");
  if (level === 0) {
    const added = names.map((name) => `${name}${suffix} += ${terms[name]};`).join(" ");
    return `${declared}
  for (var ${variable} = ${begin}; ${variable} < ${end}; ${variable} += ${step}) { ${body} ${added} }`;
  }
  const [start, stop] = [`${variable}_${level}`, `${variable}_end_${level}`];
  const stride = `${TERMS ** level}u * ${step}`;
  const added = names.map((name) => `${name}${suffix} += ${name}_${level - 1};`).join(" ");
  return `${declared}
  for (var ${start} = ${begin}; ${start} < ${end}; ${start} += ${stride}) {
  let ${stop} = min(${end}, ${start} + ${stride});
  ${nest(loop, level - 1, start, stop)}
  ${added}
  }`;
}
