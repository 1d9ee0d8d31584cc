/** Cases drawn at random, as plain data that prints: masks, memory layouts, biases, whole calls. */
import type { DType } from "@denoformers/attention";
import fc from "fast-check";
import { MASK_NAMES, type MaskName } from "./_mask_kinds.ts";
import { layoutOf, type MaskSpec, type Spoil } from "./_mask_specs.ts";

/** What kernels are compiled for. Compiling takes a second on CPU drivers, so there are few. */
export interface Compiled {
  readonly op: "flashF" | "splitKF" | "mathF" | "chosen";
  readonly K: number;
  readonly Kv: number;
  readonly dtype: "f32" | "f16" | "bf16";
  readonly outputDtype: "f32" | "f16" | "bf16";
  readonly bias: "none" | "bool" | "f32" | "f16" | "bf16";
  /** Whether rows of query, key and value begin at multiples of four elements. */
  readonly aligned: readonly [boolean, boolean, boolean];
  readonly alibi: boolean;
  readonly dropout: boolean;
  /** Whether there are kernels for gradients too, two to four more for each way in which keys lie. */
  readonly gradients?: boolean;
}

const ALL = [true, true, true] as const;
const NONE = [false, false, false] as const;
const PLAIN = {
  op: "flashF",
  outputDtype: "f32",
  dtype: "f32",
  alibi: false,
  dropout: false,
} as const;

/** Every element type, bias and op, each with and without what goes on top of it. */
export const COMPILED: readonly Compiled[] = [
  { ...PLAIN, K: 16, Kv: 16, bias: "none", aligned: ALL },
  { ...PLAIN, K: 13, Kv: 5, bias: "f32", aligned: NONE, gradients: true },
  {
    ...PLAIN,
    K: 8,
    Kv: 24,
    bias: "bool",
    aligned: ALL,
    dtype: "f16",
    outputDtype: "f16",
    alibi: true,
  },
  {
    ...PLAIN,
    K: 24,
    Kv: 7,
    bias: "bf16",
    aligned: [true, true, false],
    dtype: "bf16",
    outputDtype: "bf16",
    dropout: true,
    gradients: true,
  },
  {
    ...PLAIN,
    K: 16,
    Kv: 16,
    bias: "none",
    aligned: [true, false, true],
    alibi: true,
    dropout: true,
    gradients: true,
  },
  { ...PLAIN, K: 16, Kv: 16, bias: "none", aligned: ALL, op: "chosen", gradients: true },
  {
    ...PLAIN,
    K: 16,
    Kv: 16,
    bias: "f16",
    aligned: ALL,
    op: "splitKF",
    dtype: "f16",
    outputDtype: "f16",
  },
  {
    ...PLAIN,
    K: 9,
    Kv: 20,
    bias: "bool",
    aligned: NONE,
    op: "splitKF",
    alibi: true,
    dropout: true,
  },
  {
    ...PLAIN,
    K: 13,
    Kv: 5,
    bias: "f32",
    aligned: NONE,
    op: "mathF",
    dropout: true,
    gradients: true,
  },
  { ...PLAIN, K: 8, Kv: 24, bias: "bool", aligned: ALL, op: "mathF", dtype: "bf16", alibi: true },
  { ...PLAIN, K: 260, Kv: 3, bias: "none", aligned: NONE, op: "chosen", outputDtype: "f16" },
];

/** How a tensor lies in memory; what concerns axes that it lacks is left aside. */
export interface ViewSpec {
  /** Axes with smaller numbers lie further out. */
  readonly order: readonly number[];
  /** Elements around it along each axis, and its step there. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  readonly step: readonly number[];
  /** An axis along which one element stands for all, if the tensor has it and it is no row. */
  readonly expanded: number;
}

/** A bias that broadcasts. */
export interface BiasSpec {
  /** How many of the leading axes it lacks. */
  readonly missing: number;
  /** Which of the others have size 1. */
  readonly ones: readonly boolean[];
  /** Share of elements that hide. */
  readonly hidden: number;
  readonly view: ViewSpec;
}

/** A call. */
export interface CallSpec {
  readonly compiled: Compiled;
  readonly mask: MaskSpec;
  readonly rank: 3 | 4 | 5;
  /** Groups, or heads of key and value; and query heads of each. */
  readonly groups: number;
  readonly heads: number;
  /** For rank 5: whether key and value have one head a group. */
  readonly shared: readonly [boolean, boolean];
  readonly views: readonly [ViewSpec, ViewSpec, ViewSpec];
  readonly bias: BiasSpec;
  /** Multiplies the default scale. */
  readonly scale: number | undefined;
  readonly p: number;
  readonly seed: number;
  readonly slopes: "list" | "tensor" | "tensor per batch";
  /** Every so many keys one is NaN, with its value; 0 for none. */
  readonly poison: number;
  /** Seed of the numbers. */
  readonly numbers: number;
  /** How the gradient of the output lies, if there is one, and whether the log-sum-exp has one too. */
  readonly upstream: UpstreamSpec | undefined;
}

/** Gradients of a call's results. */
export type UpstreamSpec = { readonly view: ViewSpec; readonly lse: boolean };

const five = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(arbitrary, { minLength: 5, maxLength: 5 });

const reach = fc.oneof({ weight: 9, arbitrary: fc.nat(20) }, fc.constant(Infinity));

const lengths = fc.record({ q: fc.nat(24), k: fc.nat(24), start: fc.nat(20) });

/** Few long rows of keys among many short ones: parts of the keys are merged from 512 keys on. */
const keys = fc.oneof({ weight: 7, arbitrary: fc.nat(70) }, fc.integer({ min: 500, max: 800 }));

function maskOf(name: MaskName): fc.Arbitrary<MaskSpec> {
  return fc.record({
    name: fc.constant(name),
    dense: fc.record({ B: fc.integer({ min: 0, max: 3 }), Mq: fc.nat(70), Mkv: keys }),
    // Without any sequence there is no gappy mask.
    blocks: fc.array(lengths, { minLength: layoutOf(name) === "gappy" ? 1 : 0, maxLength: 4 }),
    spare: fc.nat(3),
    pageSize: fc.integer({ min: 1, max: 9 }),
    shuffle: fc.nat(50),
    left: reach,
    right: reach,
    derived: fc.boolean(),
  }).filter(({ derived, blocks }) => {
    // Gappy masks with pages are made from gappy ones without.
    return !(derived && layoutOf(name) === "pagedGappy" && blocks.length === 0);
  });
}

/** A mask of any class, or none. */
export const masks: fc.Arbitrary<MaskSpec> = fc.constantFrom(...MASK_NAMES).chain(maskOf);

const views: fc.Arbitrary<ViewSpec> = fc.record({
  order: five(fc.nat(4)),
  before: five(fc.nat(2)),
  after: five(fc.nat(2)),
  step: five(fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.constant(2))),
  expanded: fc.oneof({ weight: 3, arbitrary: fc.constant(-1) }, fc.constantFrom(0, 2, 3)),
});

const biases: fc.Arbitrary<BiasSpec> = fc.record({
  missing: fc.nat(5),
  ones: five(fc.boolean()),
  hidden: fc.constantFrom(0, 0.3, 0.95, 1),
  view: views,
});

/** A call for which the same is compiled as for one of these. */
export const callsOf = (compiled: readonly Compiled[]): fc.Arbitrary<CallSpec> =>
  fc.record({
    compiled: fc.constantFrom(...compiled),
    mask: masks,
    rank: fc.constantFrom(4, 3, 5),
    groups: fc.integer({ min: 1, max: 3 }),
    heads: fc.integer({ min: 1, max: 3 }),
    shared: fc.tuple(fc.boolean(), fc.boolean()),
    views: fc.tuple(views, views, views),
    bias: biases,
    scale: fc.constantFrom(undefined, 1, 0, -1, 0.25, 2),
    p: fc.oneof(fc.double({ min: 0, max: 0.9, noNaN: true }), fc.constantFrom(0, 1, 0.5)),
    seed: fc.maxSafeNat(),
    slopes: fc.constantFrom("list", "tensor", "tensor per batch"),
    poison: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 40 })),
    numbers: fc.integer({ min: 1, max: 1000 }),
    upstream: fc.oneof(
      { weight: 2, arbitrary: fc.record({ view: views, lse: fc.boolean() }) },
      fc.constant(undefined),
    ),
  });

/** A call of any op. */
export const calls: fc.Arbitrary<CallSpec> = callsOf(COMPILED);

/** An argument of a mask that is none. */
export const spoils: fc.Arbitrary<Spoil> = fc.record({
  argument: fc.constantFrom("q", "k", "starts", "padding", "size", "w", "wl", "wr", "tables"),
  index: fc.nat(3),
  junk: fc.constantFrom<unknown>(-1, 0.5, NaN, "2", null, -Infinity, 2 ** 53, true, {}),
});

/** See {@linkcode partitions}. */
export type Partition = typeof partitions extends fc.Arbitrary<infer T> ? T : never;

/** Keys coloured with the numbers of the parts that they belong to, over and over. */
export const partitions = fc.record({
  B: fc.nat(2),
  Mq: fc.nat(20),
  H: fc.integer({ min: 1, max: 3 }),
  Mkv: fc.nat(70),
  parts: fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }),
  odd: fc.boolean(),
  /** How many parts are merged before the others. */
  nested: fc.nat(4),
});

/** Arguments of which some may not go together with others. */
export interface LooseCall {
  readonly shapes: readonly number[][];
  readonly dtypes: readonly DType[];
  readonly bias: readonly number[] | undefined;
  readonly biasDtype: DType;
  readonly p: number | undefined;
  readonly seed: number | undefined;
  readonly scale: number | undefined;
  readonly outputDtype: DType | undefined;
}

const rarely = <T>(usual: T, ...odd: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, fc.constantFrom(...odd));

/** A change of one size, or of the rank. */
const change = fc.record({
  which: fc.nat(3),
  axis: fc.nat(5),
  size: fc.nat(4),
  kind: fc.constantFrom("size", "size", "size", "drop", "add"),
});

/** Right calls of which some sizes, types and numbers are changed. */
export const looseCalls: fc.Arbitrary<LooseCall> = fc.record({
  rank: fc.constantFrom(3, 4, 5),
  B: fc.integer({ min: 0, max: 2 }),
  Mq: fc.nat(4),
  Mkv: fc.nat(4),
  G: fc.integer({ min: 0, max: 3 }),
  H: fc.integer({ min: 1, max: 3 }),
  K: fc.nat(4),
  Kv: fc.nat(4),
  withBias: fc.boolean(),
  changes: fc.array(change, { maxLength: 2 }),
  dtypes: rarely<DType[]>(["f32", "f32", "f32"], ["f32", "f16", "f32"], ["i32", "i32", "i32"]),
  biasDtype: rarely<DType>("f32", "bool", "i32", "f16"),
  p: rarely<number | undefined>(undefined, 0.5, 1, -0.1, 1.1, NaN, Infinity),
  seed: rarely<number | undefined>(undefined, 7, -1, 0.5, 2 ** 53, NaN),
  scale: rarely<number | undefined>(undefined, 0, -2, NaN, Infinity),
  outputDtype: rarely<DType | undefined>(undefined, "f16", "i32", "f64" as DType),
}).map(({ rank, B, Mq, Mkv, G, H, K, Kv, withBias, changes, ...rest }) => {
  const shapes = {
    3: [[B, Mq, K], [B, Mkv, K], [B, Mkv, Kv], [B, Mq, Mkv]],
    4: [[B, Mq, G * H, K], [B, Mkv, G, K], [B, Mkv, G, Kv], [B, G * H, Mq, Mkv]],
    5: [[B, Mq, G, H, K], [B, Mkv, G, 1, K], [B, Mkv, G, H, Kv], [B, G, H, Mq, Mkv]],
  }[rank]!;
  for (const { which, axis, size, kind } of changes) {
    const shape = shapes[which]!;
    if (kind === "size") shape[axis % shape.length] = size;
    else {shape.splice(
        axis % shape.length,
        kind === "drop" ? 1 : 0,
        ...(kind === "add" ? [size] : []),
      );}
  }
  return { ...rest, shapes: shapes.slice(0, 3), bias: withBias ? shapes[3] : undefined };
});
