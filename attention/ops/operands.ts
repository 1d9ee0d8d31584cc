/** What attention kernels bind: each operand's strides by role, and the range that a launch sees of it. */
import { encodingOf } from "../../gpu/dtype.ts";
import type { DeviceArray } from "../../gpu/array.ts";
import { contiguousLayout } from "../../gpu/layout.ts";
import { type Binding, BINDING_ALIGNMENT } from "../../gpu/runtime/kernels.ts";
import type { AttentionInputs } from "../inputs.ts";
import type { Operand, Run } from "./plan.ts";

/** An operand with its array. */
export interface BoundOperand extends Operand {
  readonly array: DeviceArray;
}

/** A binding, and the number of elements before it that its kernel does not see. */
export interface Bound {
  readonly binding: Binding;
  readonly base: number;
}

type Five = [number, number, number, number, number];

/** Query or output, `[B, Mq, G, H, K]`. */
export function queryOperand(array: DeviceArray): BoundOperand {
  const [batch, query, group, head, step] = array.layout.strides as Five;
  return operand(array, { batch, query, key: 0, group, head }, step);
}

/** Key or value, `[B, Mkv, G, H, K]`. */
export function keyOperand(array: DeviceArray): BoundOperand {
  const [batch, key, group, head, step] = array.layout.strides as Five;
  return operand(array, { batch, query: 0, key, group, head }, step);
}

/** Bias, `[B, G, H, Mq, Mkv]`. */
export function biasOperand(array: DeviceArray): BoundOperand {
  const [batch, group, head, query, key] = array.layout.strides as Five;
  return { ...operand(array, { batch, query, key, group, head }, 0), tail: 1 };
}

/** The dense output, as `[B, Mq, G, H, Kv]` whatever its rank. */
export function outOperand(array: DeviceArray, { sizes }: AttentionInputs): BoundOperand {
  const { B, Mq, G, H, Kv } = sizes;
  return queryOperand({ ...array, layout: contiguousLayout([B, Mq, G, H, Kv]) });
}

/** The log-sum-exp, as dense `[B, G, H, Mq]` of elements of two words, whatever its rank. */
export function lseOperand(array: DeviceArray, { sizes }: AttentionInputs): BoundOperand {
  const { B, Mq, G, H } = sizes;
  const layout = contiguousLayout([B, G, H, Mq]);
  const [batch, group, head, query] = layout.strides as [number, number, number, number];
  const strides = { batch, query, key: 0, group, head };
  return { array: { ...array, layout }, layout, bytes: 8, strides, tail: 1 };
}

function operand(array: DeviceArray, strides: Operand["strides"], step: number): BoundOperand {
  const { layout, dtype } = array;
  const tail = Math.max(0, layout.shape.at(-1)! - 1) * step + 1;
  return { array, layout, bytes: encodingOf(dtype).bytes, strides, tail };
}

/** Binds all of an operand's storage, or the range around a span where that is too large for one binding. */
export function bind({ array, bytes }: BoundOperand, spanOf: () => Run, limit: number): Bound {
  const { storage } = array;
  const { size } = storage.buffer;
  if (size <= limit) return { binding: storage, base: 0 };
  const span = spanOf();
  const offset = Math.floor(span[0] * bytes / BINDING_ALIGNMENT) * BINDING_ALIGNMENT;
  const end = Math.min(size, Math.ceil(span[1] * bytes / 16) * 16);
  return { binding: { storage, offset, size: end - offset }, base: offset / bytes };
}

/** Whether every row starts at a multiple of four elements and is dense, so that vec4 reads work. */
export function isAligned({ layout: { shape, strides, offset } }: DeviceArray): boolean {
  const dim = shape.at(-1)!;
  return dim > 0 && dim % 4 === 0 && strides.at(-1) === 1 && offset % 4 === 0 &&
    !shape.includes(0) &&
    strides.slice(0, -1).every((stride, axis) => shape[axis] === 1 || stride % 4 === 0);
}
