/**
 * Dropout: out[e] = keep(e) ? a[e] / (1 - p) : 0, with element e kept iff its random word is at least
 * p 2^32. The word is philox(counter = (e / 4, 0, 0, 1), key = seed)[e % 4], so that nothing need be
 * stored to drop the same elements again; the last word of the counter sets it apart from `rand`. One
 * thread takes the four elements of one Philox block. Time and memory O(elements).
 */
import { isProbability, told } from "../checks.ts";
import { type DeviceArray, produce } from "../array.ts";
import { type DType, elementsPerWord, encodingOf, isFloat } from "../dtype.ts";
import { coalesce } from "../layout.ts";
import {
  accessorHelpers,
  declareOperand,
  declareWalk,
  type OperandKind,
  padAxes,
} from "../ops/accessors.ts";
import { inShares } from "../ops/bindings.ts";
import { fill } from "../ops/map.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, numel } from "../shape.ts";
import { PHILOX, seedKey } from "./philox.ts";

const THREADS = 128;

const PARAMS = paramStruct({
  elements: "u32",
  start: "u32",
  seed_low: "u32",
  seed_high: "u32",
  threshold: "u32",
  scale: "f32",
  a_offset: "u32",
  shape: "axes",
  a_strides: "axes",
});

const BODY = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let block = workgroup_index(group, groups) * THREADS + thread;
  if (block * 4u >= params.elements) { return; }
  let counter = vec4u(params.start / 4u + block, 0u, 0u, 1u);
  let words = philox(counter, vec2u(params.seed_low, params.seed_high));
  for (var i = 0u; i < 4u; i += ELEMENTS_PER_WORD) {
    if (block * 4u + i >= params.elements) { return; }
    var packed = 0u;
    for (var e = 0u; e < ELEMENTS_PER_WORD; e++) {
      let index = block * 4u + i + e;
      // Not a product with 0, which would leave a NaN.
      if (index < params.elements && words[i + e] >= params.threshold) {
        packed |= pack(element(index) * params.scale, e);
      }
    }
    out[(block * 4u + i) / ELEMENTS_PER_WORD] = packed;
  }
}
`;

/** Words below this are dropped: p of all 2^32, but never all of them. */
export function dropThreshold(p: number): number {
  return Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1);
}

/**
 * Drops elements at random and scales up the others.
 *
 * @param a Floats, strided in any way.
 * @param p Probability of being dropped, 0 < p <= 1.
 * @param seed A whole number below 2^53.
 * @returns A dense array of the same type.
 */
export function dropout(runtime: Runtime, a: DeviceArray, p: number, seed: number): DeviceArray {
  const { dtype, layout: { shape } } = a;
  if (p === 1) return fill(runtime, shape, dtype, 0);
  const [seed_low, seed_high] = seedKey(seed);
  return produce(runtime, shape, dtype, (out) => {
    if (numel(shape) === 0) return;
    inShares(runtime, [a], out, (share) => {
      const [input] = share.arrays;
      const axes = coalesce([input!.layout.strides], shape);
      runtime.kernels.dispatch(dropoutKernel(input!, dtype, axes.shape.length), {
        storages: [input!.binding, share.out],
        params: PARAMS.pack({
          elements: share.count,
          start: share.start,
          seed_low,
          seed_high,
          threshold: dropThreshold(p),
          scale: 1 / (1 - p),
          a_offset: input!.layout.offset,
          shape: padAxes(axes.shape, 1),
          a_strides: padAxes(axes.strides[0]!, 0),
        }),
        workgroups: ceilDiv(share.count, 4 * THREADS),
      });
    });
  });
}

/** Throws unless there is a dropout of this type with this probability and seed. */
export function assertDropout(dtype: DType, p: number, seed: number): void {
  if (!isFloat(dtype)) {
    throw new TypeError(
      `Cannot dropout: dtype is ${dtype}, expected f32, f16 or bf16, convert with .to("f32")`,
    );
  }
  if (!isProbability(p)) {
    throw new RangeError(`Cannot dropout: p is ${told(p)}, expected a probability from 0 to 1`);
  }
  seedKey(seed);
}

const kernels = new Map<string, Kernel>();

/** `input` may be of a wider type than the output: what was gathered is f32. */
function dropoutKernel({ dtype: input, dense }: OperandKind, output: DType, rank: number): Kernel {
  const key = [input, dense, output, rank].join();
  let kernel = kernels.get(key);
  if (!kernel) {
    const source = [
      PARAMS.wgsl,
      `const THREADS = ${THREADS}u;\nconst ELEMENTS_PER_WORD = ${elementsPerWord(output)}u;\n`,
      accessorHelpers([input, output]),
      declareOperand("a", 0, input),
      dense ? "" : declareWalk("a", "shape", rank),
      "@group(0) @binding(1) var<storage, read_write> out: array<u32>;\n",
      `fn pack(v: f32, e: u32) -> u32 { return ${encodingOf(output).pack}; }\n`,
      "fn element(index: u32) -> f32 { return ",
      dense ? "load_a(index)" : "load_a(at_a(params.start + index))",
      "; }\n",
      PHILOX,
      WORKGROUP_INDEX,
      BODY,
    ].join("");
    kernel = { label: "dropout", source, bindings: ["read", "write"] };
    kernels.set(key, kernel);
  }
  return kernel;
}
