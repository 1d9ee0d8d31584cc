/** Holds results against float64, a few rows of a few heads, before anything is timed. */
import { AttentionBias, Tensor } from "@denoformers/attention";
import { visibleKeys } from "../../attention/masks/window.ts";
import type { Case, FloatName } from "./cases.ts";
import type { HeadReader, ResultName } from "./contender.ts";
import type { OurCase } from "./ours.ts";
import { dQueryRow, type HeadInputs, keyGradientRows, outRow, type RowTerms } from "./truth.ts";

/** A row that is known. */
export interface KnownRow {
  readonly name: ResultName;
  readonly b: number;
  readonly h: number;
  readonly row: number;
  readonly values: Float64Array;
}

/**
 * Allowed error, as a share of the largest value of the rows looked at. f32: sums over thousands of keys in
 * another order, weights up to exp(6) apart; what is wrong is wrong by far more. f16 and bf16: a few units
 * in the last place of the result, and for gradients in that of the rounded output that they start from.
 */
export const TOLERANCE: Readonly<Record<FloatName, number>> = { f32: 1e-4, f16: 4e-3, bf16: 3e-2 };

/** Gradients of keys depend on every query; above so many multiply-adds those of queries must do. */
const MAX_KEY_GRADIENT_WORK = 3e8;

/**
 * Some rows of a case in float64: three of the first head of the first sequence and three of the last of the
 * last; or all rows of all heads.
 *
 * @param what The case. None of dropout's rows are known: that is for the tests, which know what is dropped.
 * @param ours Its inputs.
 * @param all Whether to compute all rows.
 */
export async function knownRows(what: Case, ours: OurCase, all = false): Promise<KnownRow[]> {
  const { B, H, variant } = what;
  if (variant === "dropout") return [];
  const heads = all
    ? Array.from({ length: B * H }, (_, n) => [Math.floor(n / H), n % H] as const)
    : ([[0, 0], [B - 1, H - 1]] as const);
  const rows: KnownRow[] = [];
  for (const [b, h] of heads) rows.push(...await knownRowsOfHead(what, ours, b, h, all));
  return rows;
}

async function knownRowsOfHead(
  what: Case,
  ours: OurCase,
  b: number,
  h: number,
  all: boolean,
): Promise<KnownRow[]> {
  const { pass, H, Hkv, K } = what;
  const { query, key, value, gradient } = ours.inputs;
  const keyHead = Math.floor(h / (H / Hkv));
  const head: HeadInputs = {
    query: await ours.head(query, b, h),
    key: await ours.head(key, b, keyHead),
    value: await ours.head(value, b, keyHead),
    gradient: pass === "training" ? await ours.head(gradient, b, h) : new Float32Array(),
    K,
  };
  const [queries, keys] = [head.query.length / K, head.key.length / K];
  const places = (count: number) => all ? [...Array(count).keys()] : placesIn(count);
  const at = { b, h };
  const queryRows = places(queries);
  const terms = await rowTerms(what, ours, h, queryRows, [queries, keys]);
  if (pass === "forward") {
    return queryRows.map((row) => ({
      ...at,
      name: "out",
      row,
      values: outRow(head, row, terms(row)),
    }));
  }
  const known: KnownRow[] = queryRows.map((row) => ({
    ...at,
    name: "dQuery",
    row,
    values: dQueryRow(head, row, terms(row)),
  }));
  if (H !== Hkv || queries * keys * K > MAX_KEY_GRADIENT_WORK) return known;
  const everyTerms = await rowTerms(what, ours, h, [...Array(queries).keys()], [queries, keys]);
  const keyRows = places(keys);
  for (const [n, { dKey, dValue }] of keyGradientRows(head, keyRows, everyTerms).entries()) {
    const row = keyRows[n]!;
    known.push({ ...at, name: "dKey", row, values: dKey });
    known.push({ ...at, name: "dValue", row, values: dValue });
  }
  return known;
}

/** First, last, and one between. */
function placesIn(count: number): number[] {
  return [...new Set([0, Math.floor(count * 0.37), count - 1])];
}

/** What the rows of a head see and what is added to their scores. */
async function rowTerms(
  what: Case,
  { options }: OurCase,
  h: number,
  rows: readonly number[],
  [queries, keys]: readonly [number, number],
): Promise<(row: number) => RowTerms> {
  const { attnBias, alibiSlopes } = options;
  const slope = Array.isArray(alibiSlopes) ? alibiSlopes[h] as number : 0;
  const added = new Map<number, Float32Array>();
  if (attnBias instanceof Tensor) {
    using bias = attnBias.detach();
    using matrix = bias.reshape([what.H, queries, keys]).select(0, h);
    if (rows.length === queries) {
      const data = await matrix.data();
      for (const row of rows) added.set(row, data.subarray(row * keys, (row + 1) * keys));
    } else {
      for (const row of rows) {
        using line = matrix.select(0, row);
        added.set(row, await line.data());
      }
    }
  }
  const mask = attnBias instanceof AttentionBias ? attnBias : undefined;
  return (row) => {
    const [begin, end] = visibleTo(mask, row, queries, keys);
    const bias = added.get(row);
    const own = row + keys - queries;
    return { begin, end, added: (key) => (bias?.[key] ?? 0) - slope * Math.abs(own - key) };
  };
}

/** The run of keys that a row sees, counted along M. */
function visibleTo(
  mask: AttentionBias | undefined,
  row: number,
  queries: number,
  keys: number,
): readonly [begin: number, end: number] {
  if (!mask) return [0, keys];
  const blocks = mask.blocks ?? [{ queryBegin: 0, queries, keyBegin: 0, keys }];
  const block = blocks.find(({ queryBegin, queries }) => row < queryBegin + queries)!;
  const own = row - block.queryBegin;
  const [begin, end] = visibleKeys(mask.window, own, block.queries, block.keys);
  return [block.keyBegin + begin, block.keyBegin + end];
}

/**
 * How wrong results are.
 *
 * @param known What is right.
 * @param head Reads what was computed.
 * @returns The largest error as a share of the largest right value, over the results; NaN where a result is.
 */
export async function errorOf(known: readonly KnownRow[], head: HeadReader): Promise<number> {
  const worst = new Map<ResultName, { error: number; size: number }>();
  const heads = new Map<string, Float32Array>();
  for (const { name, b, h, row, values } of known) {
    const place = `${name} ${b} ${h}`;
    const data = heads.get(place) ?? await head(name, b, h);
    heads.set(place, data);
    const found = worst.get(name) ?? { error: 0, size: 0 };
    for (const [d, value] of values.entries()) {
      // Math.max() gives NaN as soon as one is.
      found.error = Math.max(found.error, Math.abs(data[row * values.length + d]! - value));
      found.size = Math.max(found.size, Math.abs(value));
    }
    worst.set(name, found);
  }
  return Math.max(0, ...[...worst.values()].map(({ error, size }) => error / size));
}
