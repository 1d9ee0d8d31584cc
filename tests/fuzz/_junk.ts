/** Arguments that are wrong, by name, so that a case prints and can be given again. */
import { Device, type DType, LowerTriangularMask, Tensor } from "@denoformers/attention";

/** What calls are made with. */
export interface World {
  readonly device: Device;
  /** Another device on the same adapter. */
  readonly other: Device;
}

const JUNK = {
  undefined: () => undefined,
  null: () => null,
  "an empty string": () => "",
  "a string": () => "2",
  "a word": () => "__proto__",
  "true": () => true,
  "a bigint": () => 1n,
  "an object": () => ({}),
  "an empty list": () => [],
  "a list of null": () => [null],
  "a list of lists": () => [[1]],
  "a list of strings": () => ["1"],
  "a list of -1": () => [-1],
  "a list of 1.5": () => [1.5],
  "a list of NaN": () => [NaN],
  "a list with a hole": () => Object.assign([1], { length: 2 }),
  "a list of 2^53": () => [2 ** 53],
  "a list of 1e308": () => [1e308],
  "a list of 99": () => [99],
  "a list of 0, 0": () => [0, 0],
  "nine sizes": () => [1, 1, 1, 1, 1, 1, 1, 1, 1],
  "2^62 elements": () => [2 ** 31, 2 ** 31],
  "2^53 - 1 elements": () => [2 ** 53 - 1],
  "a set": () => new Set([1]),
  "a function": () => () => 1,
  "0": () => 0,
  "1": () => 1,
  "-1": () => -1,
  "-0.5": () => -0.5,
  "1.5": () => 1.5,
  "99": () => 99,
  "-99": () => -99,
  "2^31": () => 2 ** 31,
  "2^53": () => 2 ** 53,
  "1e308": () => 1e308,
  NaN: () => NaN,
  Infinity: () => Infinity,
  "-Infinity": () => -Infinity,
  f64: () => "f64",
  "a list of a dtype": () => ["f32"],
  constructor: () => "constructor",
  "a misspelt name": () => ({ attn_bias: 1 }),
  "a name that objects inherit": () => ({ constructor: 1 }),
  "a mask": () => new LowerTriangularMask(),
  "a map": () => new Map([["p", 0]]),
  "a tensor": ({ device }: World) => device.zeros([2, 3]),
  "a device": ({ device }: World) => device,
  "a shape and a dtype": () => ({ shape: [2, 3], dtype: "f32", ndim: 2 }),
  "a tensor without its fields": () => Object.create(Tensor.prototype),
  "a device without its fields": () => Object.create(Device.prototype),
  "a tensor of another device": ({ other }: World) => other.zeros([2, 3]),
  "a disposed tensor": ({ device }: World) => {
    const tensor = device.zeros([2, 3]);
    tensor.dispose();
    return tensor;
  },
  "a tensor of i32": ({ device }: World) => device.zeros([2, 3], { dtype: "i32" as DType }),
  "a tensor of no elements": ({ device }: World) => device.zeros([0, 7]),
} as const;

/** The name of a wrong argument. */
export type JunkName = keyof typeof JUNK;

/** The argument. */
export function junkOf(name: JunkName, world: World): unknown {
  return JUNK[name](world);
}

const NO_NUMBER = [
  "null",
  "a string",
  "an empty string",
  "true",
  "a bigint",
  "an object",
  "an empty list",
  "a function",
] as const satisfies readonly JunkName[];

const NO_TENSOR_AT_ALL = [
  "null",
  "a string",
  "true",
  "a bigint",
  "an object",
  "an empty list",
  "a function",
  "a shape and a dtype",
] as const satisfies readonly JunkName[];

const NO_TENSOR = [
  ...NO_TENSOR_AT_ALL,
  "a tensor of another device",
  "a disposed tensor",
] as const satisfies readonly JunkName[];

const NO_LIST = [
  "null",
  "a string",
  "1",
  "true",
  "an object",
  "a set",
  "a list of null",
  "a list of strings",
  "a list of 1.5",
  "a list of NaN",
  "a list with a hole",
] as const satisfies readonly JunkName[];

const HUGE = [
  "a list of 2^53",
  "a list of 1e308",
  "nine sizes",
] as const satisfies readonly JunkName[];

/** What no argument of each kind may be. */
export const KINDS = {
  shape: [
    ...NO_LIST,
    ...HUGE,
    "a list of -1",
    "a list of lists",
    "2^62 elements",
    "2^53 - 1 elements",
  ],
  sizes: [...NO_LIST, ...HUGE, "a list of lists"],
  axis: [...NO_NUMBER, "1.5", "99", "-99", "2^31", "2^53", "NaN", "Infinity", "1e308"],
  axes: [
    "null",
    "a string",
    "true",
    "an object",
    "1.5",
    "99",
    "NaN",
    "a list of 99",
    "a list of null",
    "a list of strings",
    "a list of 0, 0",
    "a set",
  ],
  order: [...NO_LIST, "a list of 99", "a list of 0, 0", "an empty list"],
  index: [...NO_NUMBER, "1.5", "99", "-99", "2^31", "NaN", "Infinity"],
  indices: [
    "null",
    "a string",
    "true",
    "an object",
    "a set",
    "1",
    "a list of null",
    "a list of strings",
    "a list of 1.5",
    "a list of NaN",
    "a list of 99",
    "a list of 2^53",
    "a tensor of another device",
    "a disposed tensor",
    "a tensor of i32",
  ],
  /** A whole number >= 1. */
  count: [...NO_NUMBER, "0", "-1", "1.5", "NaN", "Infinity", "-Infinity"],
  seed: [...NO_NUMBER, "-1", "1.5", "NaN", "Infinity", "2^53", "1e308"],
  probability: [...NO_NUMBER, "-0.5", "1.5", "NaN", "Infinity", "99"],
  number: [...NO_NUMBER],
  finite: [...NO_NUMBER, "NaN", "Infinity", "-Infinity"],
  positive: [...NO_NUMBER, "NaN", "-1", "-Infinity"],
  dtype: [
    "null",
    "an empty string",
    "a word",
    "f64",
    "constructor",
    "1",
    "true",
    "an object",
    "a list of a dtype",
  ],
  choice: ["null", "an empty string", "a word", "constructor", "1", "true", "an object"],
  options: [
    "null",
    "1",
    "a string",
    "true",
    "a function",
    "a list of lists",
    "a misspelt name",
    "a name that objects inherit",
    "a mask",
    "a map",
    "a tensor",
    "a device",
  ],
  tensor: [...NO_TENSOR, "1"],
  /** A tensor of any device. */
  input: [...NO_TENSOR_AT_ALL, "a disposed tensor", "1"],
  /** A tensor that is looked into when it is used. */
  kept: [...NO_TENSOR_AT_ALL, "1"],
  /** Whether, or how, to choose kernels by measurement. */
  tune: ["a word", "1", "a function", "a bigint", "a misspelt name", "a map"],
  /** Limits of a device. */
  limits: ["a word", "1", "a list of lists", "a misspelt name", "a map"],
  /** A tensor, or a number. */
  operand: [...NO_TENSOR],
  tensors: [
    "null",
    "a string",
    "1",
    "true",
    "an object",
    "a set",
    "an empty list",
    "a list of null",
    "a list of strings",
    "a list of lists",
  ],
  lengths: [
    "null",
    "a string",
    "1",
    "true",
    "an object",
    "a set",
    "a list of -1",
    "a list of 1.5",
    "a list of NaN",
    "a list of null",
    "a list of strings",
    "a list of lists",
    "a list of 2^53",
  ],
  device: ["null", "a string", "1", "an object", "a function"],
  fn: ["null", "a string", "1", "an object", "an empty list"],
  /** An object that knows itself what it is. */
  instance: ["null", "1", "a string", "true", "a function", "a map"],
  record: ["null", "a string", "1", "true", "a function", "a map"],
  bytes: ["null", "a string", "1", "an object", "an empty list", "a list of -1"],
  source: [
    "null",
    "undefined",
    "a string",
    "an object",
    "a set",
    "a function",
    "a list of null",
    "a list of strings",
  ],
  mask: [
    "a string",
    "1",
    "true",
    "an object",
    "a function",
    "an empty list",
    "a shape and a dtype",
    "a tensor of another device",
    "a disposed tensor",
    "a tensor of no elements",
  ],
} as const satisfies Readonly<Record<string, readonly JunkName[]>>;

/** A kind of argument. */
export type Kind = keyof typeof KINDS;
