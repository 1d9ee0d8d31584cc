/** Views of more elements than memory could hold: right, or refused at once, and never a wait without end. */
import { memoryEfficientAttention, type Tensor, tidy } from "@denoformers/attention";
import fc from "fast-check";
import { type Family, take } from "./_family.ts";
import { faultOf } from "./_refused.ts";

const OPS = [
  "part",
  "add",
  "cat",
  "clone",
  "reshape",
  "matmul",
  "to",
  "softmax",
  "indexSelect",
  "sum",
  "mean",
  "max",
  "logSumExp",
  "unbind",
  "chunk",
  "attention",
] as const;

/** A view of one number, and what is asked of it. */
interface HugeCase {
  readonly shape: readonly number[];
  readonly op: (typeof OPS)[number];
  readonly value: number;
}

const size = fc.constantFrom(1, 2, 2 ** 16, 2 ** 20, 2 ** 31, 2 ** 32, 2 ** 33 + 1, 2 ** 53 - 1);

/** What an operation on all elements would take, at which it must be refused: more than any device here has. */
const TOO_MANY = 2 ** 38;

/** Expanded tensors. */
export const huge: Family<HugeCase> = {
  name: "huge",
  weight: 4,
  quick: 10,
  cases: () =>
    fc.record({
      shape: fc.array(size, { minLength: 1, maxLength: 3 }),
      op: fc.constantFrom(...OPS),
      value: fc.constantFrom(1, 3, -2),
    }),
  async check(device, { shape, op, value }) {
    const elements = shape.reduce((a, b) => a * b, 1);
    // What lies between is slow rather than wrong: gigabytes that some devices have.
    if (op !== "part" && elements < TOO_MANY) return;
    let result: Tensor | undefined;
    const begin = performance.now();
    try {
      result = tidy(() => apply(device.full([], value).expand(shape), op, elements));
    } catch (error) {
      const fault = faultOf(error);
      if (fault) throw new Error(`${op} of [${shape}]: ${fault}`, { cause: error });
    }
    const seconds = (performance.now() - begin) / 1000;
    if (!result) {
      if (op === "part" && Number.isSafeInteger(elements)) throw new Error(`[${shape}] is refused`);
    } else {
      const [found] = await take([result]);
      if (op !== "part") throw new Error(`${op} of [${shape}] is accepted`);
      if (found!.data.some((x) => x !== value)) {
        throw new Error(`a part of [${shape}] is ${found!.data}`);
      }
    }
    // Nothing is computed on the way to a refusal; the rest is what a shared machine may take.
    if (seconds > 10) throw new Error(`${op} of [${shape}] took ${seconds} s`);
  },
};

/** A few elements from the end, or all of them. */
function apply(x: Tensor, op: HugeCase["op"], elements: number): Tensor {
  switch (op) {
    case "part": {
      const ends = x.shape.reduce(
        (view, size, axis) => view.slice(axis, Math.max(0, size - 2), size),
        x,
      );
      return ends.add(0);
    }
    case "add":
      return x.add(1);
    case "cat":
      return x.reshape([-1, 1]).matmul(x.reshape([1, -1]));
    case "clone":
      return x.clone();
    case "reshape":
      return x.reshape([elements]).add(x);
    case "matmul":
      return x.unsqueeze(-1).matmul(x.unsqueeze(-2));
    case "to":
      return x.to("f16");
    case "softmax":
      return x.softmax();
    case "indexSelect":
      return x.indexSelect(0, [0, 0]).unsqueeze(0).add(x);
    // Kernels count in 32 bits: these would give 0 rather than what is right.
    case "sum":
    case "mean":
    case "max":
      return x[op]();
    case "logSumExp":
      return x.reshape([-1]).logSumExp();
    case "unbind":
      return x.reshape([-1]).unbind()[0]!;
    case "chunk":
      return x.reshape([-1]).chunk(2 ** 53)[0]!;
    case "attention": {
      const keys = x.reshape([1, -1, 1, 1]);
      return memoryEfficientAttention(x.device.ones([1, 1, 1, 1]), keys, keys);
    }
  }
}
