/** Tensors joined, and parts picked by lists of indices. */
import { cat, type Device, type DType, stack, type Tensor, tidy } from "@denoformers/attention";
import fc from "fast-check";
import { assertIs } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import { type Host, host, placeOf } from "./_host.ts";
import { assertRefused } from "./_refused.ts";
import { type Lie, LIES, lying, shapes } from "./_shapes.ts";

/** One call. */
interface JoinCase {
  readonly op: "cat" | "stack" | "indexSelect" | "indexSelect by a tensor";
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly axis: number;
  /** Sizes along the axis of what is joined, or indices along it. */
  readonly list: readonly number[];
  readonly lie: Lie;
  /** Which of what is joined has another size along another axis, or another type. */
  readonly misfit: { readonly which: number; readonly kind: "none" | "size" | "dtype" };
}

const NAMES = ["cat", "stack", "indexSelect", "indexSelect by a tensor"] as const;

/** `cat`, `stack` and `indexSelect`. */
export const joins: Family<JoinCase> = {
  name: "joins",
  weight: 8,
  quick: 24,
  cases: (scope) =>
    fc.record({
      op: fc.constantFrom(...NAMES),
      dtype: scope.some<DType>(["f32", "f16", "bool", "i32", "bf16", "u32"], 2),
      shape: shapes(4),
      axis: fc.integer({ min: -4, max: 4 }),
      list: fc.array(fc.integer({ min: -5, max: 5 }), { maxLength: 9 }),
      lie: fc.constantFrom(...scope.pick(LIES, 2)),
      misfit: fc.record({
        which: fc.nat(8),
        kind: fc.oneof({ weight: 6, arbitrary: fc.constant("none" as const) }, {
          weight: 1,
          arbitrary: fc.constantFrom("size" as const, "dtype" as const),
        }),
      }),
    }),
  async check(device: Device, drawn) {
    const { call, expected } = drawn.op === "cat" || drawn.op === "stack"
      ? join(device, drawn)
      : pick(device, drawn);
    if (!expected) return assertRefused(() => tidy(call));
    const [found] = await take([tidy(call)]);
    assertIs(found!, expected, drawn.dtype, { atol: 0, rtol: 0 }, drawn.op);
  },
};

interface Join {
  readonly call: () => Tensor;
  /** `undefined` if the call is to be refused. */
  readonly expected: Host | undefined;
}

/** Numbers that all types hold, told apart by their places. */
function numbered(shape: readonly number[], dtype: DType, from: number): Host {
  return host(shape, (_, at) => dtype === "bool" ? (at + from) * 7 % 3 % 2 : (at + from) % 250);
}

function join(device: Device, { op, dtype, shape, axis, list, lie, misfit }: JoinCase): Join {
  const isStack = op === "stack";
  const rank = shape.length + (isStack ? 1 : 0);
  const at = axis < 0 ? axis + rank : axis;
  const isRight = list.length > 0 && at >= 0 && at < rank;
  const misfits = misfit.kind === "none" || list.length < 2 ? -1 : misfit.which % list.length;
  // What is to be of another size is so along the first axis that may not be.
  const other = isStack ? 0 : shape.findIndex((_, i) => i !== at);
  const isSpoiled = misfits >= 0 && (misfit.kind === "dtype" || shape[other] !== undefined);
  const parts = list.map((size, i) => {
    const own = isStack || !isRight ? shape : shape.with(at, Math.abs(size));
    const spoiled = i === misfits && misfit.kind === "size" && own[other] !== undefined;
    return numbered(spoiled ? own.with(other, own[other]! + 1) : own, dtype, 17 * i);
  });
  const call = () => {
    const tensors = parts.map((part, i) => {
      const tensor = lying(device, part, dtype, lie);
      return i === misfits && misfit.kind === "dtype"
        ? tensor.to(dtype === "f32" ? "i32" : "f32")
        : tensor;
    });
    return isStack ? stack(tensors, axis) : cat(tensors, axis);
  };
  if (!isRight || isSpoiled) return { call, expected: undefined };
  if (isStack) {
    const joined = host(shape.toSpliced(at, 0, list.length), (index) => {
      const part = parts[index[at]!]!;
      return part.data[placeOf(index.toSpliced(at, 1), part.shape)]!;
    });
    return { call, expected: joined };
  }
  const sizes = parts.map((part) => part.shape[at]!);
  const expected = host(shape.with(at, sizes.reduce((a, b) => a + b, 0)), (index) => {
    let i = index[at]!;
    let which = 0;
    while (i >= sizes[which]!) i -= sizes[which++]!;
    return parts[which]!.data[placeOf(index.with(at, i), parts[which]!.shape)]!;
  });
  return { call, expected };
}

/** Indices of a list are checked and may count from the end; those of a tensor give NaN or 0 beyond. */
function pick(device: Device, { op, dtype, shape, axis, list, lie }: JoinCase): Join {
  const x = numbered(shape, dtype, 0);
  const byTensor = op !== "indexSelect";
  const at = axis < 0 ? axis + shape.length : axis;
  const size = shape[at];
  const places = list.map((index) => index < 0 && !byTensor ? index + (size ?? 0) : index);
  const isIn = (place: number) => place >= 0 && place < (size ?? 0);
  const call = () => {
    const indices = byTensor ? device.tensor(new Int32Array(list)) : list;
    return lying(device, x, dtype, lie).indexSelect(axis, indices);
  };
  if (size === undefined || at < 0 || (!byTensor && !places.every(isIn))) {
    return { call, expected: undefined };
  }
  const nothing = ["f32", "f16", "bf16"].includes(dtype) ? NaN : 0;
  const expected = host(shape.with(at, list.length), (index) => {
    const place = places[index[at]!]!;
    return isIn(place) ? x.data[placeOf(index.with(at, place), shape)]! : nothing;
  });
  return { call, expected };
}
