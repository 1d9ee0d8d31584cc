/** Cases that random calls once went wrong on, tried every time. */
import { assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { FAMILIES } from "./families.ts";
import { checkCase } from "./_run.ts";

const device = await sharedDevice();

const wrong = (name: string, argument: string, junk: string) =>
  ["wrong_arguments", { name, argument, junk }] as const;

/** A family and one of its cases. */
const CASES: readonly (readonly [family: string, drawn: unknown])[] = [
  // Sums of expanded views beyond 2^32 elements were 0: lengths were taken modulo 2^32.
  ["huge", { shape: [2 ** 53 - 1], op: "sum", value: 1 }],
  ["huge", { shape: [2 ** 31, 2 ** 16], op: "mean", value: 3 }],
  ["huge", { shape: [2 ** 53 - 1], op: "logSumExp", value: 1 }],
  // These made lists without end.
  ["huge", { shape: [2 ** 53 - 1], op: "unbind", value: 1 }],
  ["huge", { shape: [2 ** 53 - 1], op: "chunk", value: 1 }],
  ["huge", { shape: [2 ** 53 - 1], op: "attention", value: 1 }],
  // As in PyTorch's x.sum(0): it was left aside, and all was summed.
  wrong("Tensor.sum", "options", "1"),
  wrong("Linear", "options", "true"),
  wrong("memoryEfficientAttention", "options", "true"),
  // Taken for numbers, or for nothing.
  wrong("memoryEfficientAttention", "p", "true"),
  wrong("memoryEfficientAttention", "op", "an empty string"),
  wrong("Device.arange", "end", "a string"),
  wrong("Tensor.layerNorm", "epsilon", "NaN"),
  wrong("Tensor.layerNorm", "epsilon", "-1"),
  wrong("Device.zeros", "dtype", "a list of a dtype"),
  wrong("Tensor.permute", "order", "a list with a hole"),
  wrong("attentionFlops", "attnBias", "an object"),
  // The engine's own errors.
  wrong("Device.zeros", "shape", "1"),
  wrong("Device.full", "value", "a string"),
  wrong("Tensor.reshape", "shape", "null"),
  wrong("Linear.forward", "x", "null"),
  wrong("Block", "device", "an object"),
  wrong("mergeAttentions", "lseSplit", "a list of strings"),
  wrong("tidy", "fn", "null"),
  // NaN: powers of negative numbers that are not whole, of which infinity has some.
  ["elementwise", {
    op: "pow",
    shape: [],
    a: { dtype: "f32", values: [-Infinity], narrowing: { ones: [], dropped: 0 }, lie: "dense" },
    b: -(2 ** -126),
  }],
];

describe("what once went wrong", () => {
  for (const [name, drawn] of CASES) {
    it(`${name} ${JSON.stringify(drawn)} is right, or refused`, async () => {
      await checkCase(device, FAMILIES.find((family) => family.name === name)!, drawn);
    });
  }

  it("would be told: a right argument in place of a wrong one is an error of the fuzzer", async () => {
    const family = FAMILIES.find(({ name }) => name === "wrong_arguments")!;
    const drawn = { name: "Tensor.unsqueeze", argument: "axis", junk: "0" };
    await assertRejects(() => checkCase(device, family, drawn), Error, "accepted");
  });
});
