/** Chains of views, against a list of the elements that each should show. */
import type { Device, DType, Tensor } from "@denoformers/attention";
import { tidy } from "@denoformers/attention";
import fc from "fast-check";
import { assertIs } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import { type Host, host, numel, permuted, placeOf, reshaped } from "./_host.ts";
import { assertRefused } from "./_refused.ts";
import { shapes } from "./_shapes.ts";

/** A step of a chain. Numbers may be out of range: then the step must be refused, and is left out. */
type Step =
  | { readonly op: "reshape"; readonly cuts: readonly number[]; readonly unknown: number }
  | { readonly op: "permute"; readonly order: readonly number[] }
  | {
    readonly op: "transpose" | "select" | "unbind" | "chunk";
    readonly a: number;
    readonly b: number;
  }
  | {
    readonly op: "slice";
    readonly axis: number;
    readonly start: number;
    readonly end: number | undefined;
    readonly step: number;
  }
  | { readonly op: "expand"; readonly sizes: readonly number[]; readonly lead: readonly number[] }
  | { readonly op: "squeeze"; readonly axis: number | undefined }
  | { readonly op: "unsqueeze"; readonly axis: number }
  | { readonly op: "contiguous" | "clone" | "detach" };

/** A tensor and what is done to it. */
interface ViewCase {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly steps: readonly Step[];
}

const axis = fc.integer({ min: -4, max: 4 });
const place = fc.integer({ min: -6, max: 6 });

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    op: fc.constant("reshape" as const),
    cuts: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 5 }),
    unknown: fc.integer({ min: -1, max: 3 }),
  }),
  fc.record({ op: fc.constant("permute" as const), order: fc.array(axis, { maxLength: 5 }) }),
  fc.record({
    op: fc.constantFrom("transpose", "select", "unbind", "chunk"),
    a: axis,
    b: place,
  }),
  fc.record({
    op: fc.constant("slice" as const),
    axis,
    start: place,
    end: fc.option(place, { nil: undefined }),
    step: fc.integer({ min: 0, max: 3 }),
  }),
  fc.record({
    op: fc.constant("expand" as const),
    sizes: fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 5 }),
    lead: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 2 }),
  }),
  fc.record({ op: fc.constant("squeeze" as const), axis: fc.option(axis, { nil: undefined }) }),
  fc.record({ op: fc.constant("unsqueeze" as const), axis }),
  fc.record({ op: fc.constantFrom("contiguous", "clone", "detach") }),
);

/** What a step should do: the model's result, or `undefined` where it is to be refused. */
interface Applied {
  readonly call: (tensor: Tensor) => Tensor;
  readonly expected: Host | undefined;
}

/** Views. */
export const views: Family<ViewCase> = {
  name: "views",
  weight: 18,
  quick: 40,
  cases: (scope) =>
    fc.record({
      shape: shapes(4),
      dtype: scope.some<DType>(["f32", "f16", "i32", "u32", "bool", "bf16"], 2),
      steps: fc.array(steps, { maxLength: 8 }),
    }),
  async check(device: Device, { shape, dtype, steps }) {
    // Numbers that every type holds; places of a bool are told apart by their bits.
    let model = host(shape, (_, at) => dtype === "bool" ? at * at % 3 % 2 : at % 250);
    const shown: Host[] = [];
    const tensors = tidy(() => {
      const base = device.tensor(Float64Array.from(model.data), { shape, dtype });
      let view = base;
      const all = [];
      for (const step of steps) {
        const { call, expected } = applied(step, model);
        if (!expected) {
          assertRefused(() => call(view));
          continue;
        }
        view = call(view);
        model = expected;
        shown.push(expected);
        all.push(view);
      }
      return all;
    });
    for (const [i, found] of (await take(tensors)).entries()) {
      assertIs(found, shown[i]!, dtype, { atol: 0, rtol: 0 }, `view ${i + 1}`);
    }
  },
};

/** An axis counted from the start; `undefined` if there is none. */
function atAxis(axis: number, rank: number): number | undefined {
  const at = axis < 0 ? axis + rank : axis;
  return at >= 0 && at < rank ? at : undefined;
}

function applied(step: Step, model: Host): Applied {
  switch (step.op) {
    case "reshape":
      return reshape(step, model);
    case "permute":
      return permute(step.order, model);
    case "transpose":
      return transpose(step, model);
    case "select":
      return select(step, model);
    case "unbind":
      return unbind(step, model);
    case "chunk":
      return chunk(step, model);
    case "slice":
      return slice(step, model);
    case "expand":
      return expand(step, model);
    case "squeeze":
      return squeeze(step.axis, model);
    case "unsqueeze":
      return unsqueeze(step.axis, model);
    default:
      return { call: (x) => x[step.op](), expected: model };
  }
}

/** Cuts the elements by the first of the sizes that divide what is left; as they are, they seldom would. */
function reshape({ cuts, unknown }: Step & { op: "reshape" }, model: Host): Applied {
  const total = numel(model.shape);
  let left = total;
  const sizes: number[] = [];
  for (const cut of cuts) {
    if (cut === 0 ? total !== 0 : left % cut !== 0) continue;
    sizes.push(cut);
    left = cut === 0 ? 1 : left / cut;
  }
  const whole = total === 0 && !sizes.includes(0) ? [...sizes, 0] : [...sizes, left];
  const isCertain = unknown >= 0 && unknown < whole.length &&
    numel(whole.toSpliced(unknown, 1)) > 0;
  const asked = isCertain ? whole.with(unknown, -1) : whole;
  return { call: (x) => x.reshape(asked), expected: reshaped(model, whole) };
}

function permute(order: readonly number[], model: Host): Applied {
  const rank = model.shape.length;
  // Orders as drawn seldom fit; what is left of one that names each axis once does.
  const axes = [...new Set(order.slice(0, rank).map((axis) => atAxis(axis, rank) ?? -9))];
  const whole = axes.includes(-9) ? order.slice(0, rank) : [
    ...axes,
    ...model.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis)),
  ];
  const isRight = !axes.includes(-9);
  return {
    call: (x) => x.permute(whole),
    expected: isRight ? permuted(model, whole) : undefined,
  };
}

function transpose({ a, b }: { a: number; b: number }, model: Host): Applied {
  const rank = model.shape.length;
  const [i, j] = [atAxis(a, rank), atAxis(b, rank)];
  const axes = model.shape.map((_, axis) => axis);
  return {
    call: (x) => x.transpose(a, b),
    expected: i === undefined || j === undefined
      ? undefined
      : permuted(model, axes.with(i, j).with(j, i)),
  };
}

/** Elements of the model by an index of the result. */
function picked(
  model: Host,
  shape: readonly number[],
  from: (index: number[]) => readonly number[],
): Host {
  return host(shape, (index) => model.data[placeOf(from(index), model.shape)]!);
}

function select({ a, b }: { a: number; b: number }, model: Host): Applied {
  const at = atAxis(a, model.shape.length);
  const index = at === undefined ? undefined : atAxis(b, model.shape[at]!);
  return {
    call: (x) => x.select(a, b),
    expected: at === undefined || index === undefined
      ? undefined
      : picked(model, model.shape.toSpliced(at, 1), (rest) => rest.toSpliced(at, 0, index)),
  };
}

/** The part of a list that a number picks, so that the chain goes on. */
function partOf(tensors: readonly Tensor[], b: number, count: number): Tensor {
  if (tensors.length !== count) throw new Error(`${tensors.length} parts, expected ${count}`);
  return tensors[Math.abs(b) % count]!;
}

function unbind({ a, b }: { a: number; b: number }, model: Host): Applied {
  const at = atAxis(a, model.shape.length);
  const count = at === undefined ? 0 : model.shape[at]!;
  // Of no parts there is none to go on with.
  if (at !== undefined && count === 0) {
    return { call: (x) => x.unbind(a).length === 0 ? x.detach() : x, expected: model };
  }
  const { expected } = select({ a, b: Math.abs(b) % Math.max(1, count) }, model);
  return { call: (x) => partOf(x.unbind(a), b, count), expected };
}

function chunk({ a, b }: { a: number; b: number }, model: Host): Applied {
  const at = atAxis(a, model.shape.length);
  if (at === undefined || b < 1) return { call: (x) => x.chunk(b, a)[0]!, expected: undefined };
  const size = model.shape[at]!;
  const piece = Math.max(1, Math.ceil(size / b));
  const count = Math.max(1, Math.ceil(size / piece));
  const begin = b % count * piece;
  const length = Math.min(size, begin + piece) - begin;
  return {
    call: (x) => partOf(x.chunk(b, a), b, count),
    expected: picked(model, model.shape.with(at, length), (index) => {
      return index.with(at, begin + index[at]!);
    }),
  };
}

function slice({ axis, start, end, step }: Step & { op: "slice" }, model: Host): Applied {
  const at = atAxis(axis, model.shape.length);
  const size = at === undefined ? 0 : model.shape[at]!;
  const bound = (value: number) => value < 0 ? value + size : value;
  const [from, to] = [bound(start), bound(end ?? size)];
  const isRight = at !== undefined && step >= 1 &&
    [from, to].every((place) => place >= 0 && place <= size);
  const length = Math.max(0, Math.ceil((to - from) / step));
  return {
    call: (x) => x.slice(axis, start, end, step),
    expected: !isRight ? undefined : picked(model, model.shape.with(at, length), (index) => {
      return index.with(at, from + index[at]! * step);
    }),
  };
}

function expand({ sizes, lead }: Step & { op: "expand" }, model: Host): Applied {
  const { shape } = model;
  // Sizes that an axis already has are kept, so that many calls are right.
  const asked = [
    ...lead,
    ...shape.map((size, axis) => size === 1 ? sizes[axis] ?? 1 : sizes[axis] === -1 ? -1 : size),
  ];
  const result = asked.map((size, axis) => size === -1 ? shape[axis - lead.length]! : size);
  return {
    call: (x) => x.expand(asked),
    expected: result.length > 8 ? undefined : picked(model, result, (index) => {
      return index.slice(lead.length).map((i, axis) => shape[axis] === 1 ? 0 : i);
    }),
  };
}

function squeeze(axis: number | undefined, model: Host): Applied {
  const { shape } = model;
  const at = axis === undefined ? undefined : atAxis(axis, shape.length);
  const isRight = axis === undefined || (at !== undefined && shape[at] === 1);
  const left = shape.filter((size, i) => axis === undefined ? size !== 1 : i !== at);
  return {
    call: (x) => x.squeeze(axis),
    expected: isRight ? reshaped(model, left) : undefined,
  };
}

function unsqueeze(axis: number, model: Host): Applied {
  const at = atAxis(axis, model.shape.length + 1);
  return {
    call: (x) => x.unsqueeze(axis),
    expected: at === undefined || model.shape.length >= 8
      ? undefined
      : reshaped(model, model.shape.toSpliced(at, 0, 1)),
  };
}
