/** The op that computes gradients without the scores: {@linkcode flashBackward}. */
import type { DeviceArray } from "../../gpu/array.ts";
import type { FloatDType } from "../../gpu/dtype.ts";
import { fill, narrow } from "../../gpu/ops/map.ts";
import { reduce } from "../../gpu/ops/reduce.ts";
import { numel } from "../../gpu/shape.ts";
import { contiguousLayout } from "../../gpu/layout.ts";
import { tensorFrom } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import type { BackwardInputs, BackwardOp, BackwardResult, Differentiable } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { backwardBiasKernel } from "../kernels/flash_backward_bias.ts";
import { backwardRowBiasKernel } from "../kernels/flash_backward_row_bias.ts";
import { BackwardRun } from "./backward_run.ts";
import {
  backwardWorkgroupBytes,
  chooseBackwardTiles,
  usualBackwardTiles,
} from "./backward_tiles.ts";
import { biasAxes } from "./bias_axes.ts";
import { fillKeyGradients, fillQueryGradient, findFactors } from "./fill_gradients.ts";
import { bindingReasons, headDimReasons, workgroupMemoryReasons } from "./reasons.ts";

/**
 * Gradients of memory-efficient attention: scores are computed again from the log-sum-exp, tile by tile, once
 * for the query, once for key and value, and once for a bias (Dao et al., "FlashAttention", 2022). All masks,
 * biases, head dims as the forward op. Memory O(B Mq H) beyond the gradients. Without atomics: reruns are
 * bit-identical.
 */
export const flashBackward: BackwardOp = {
  name: "flashB",

  notSupportedReasons(inputs: AttentionInputs): string[] {
    const bytes = backwardWorkgroupBytes(inputs, usualBackwardTiles(inputs));
    return [
      ...headDimReasons(inputs),
      ...workgroupMemoryReasons(inputs, bytes),
      ...bindingReasons(inputs, { canCut: false }),
    ];
  },

  backward(
    inputs: AttentionInputs,
    given: BackwardInputs,
    needs: Readonly<Record<Differentiable, boolean>>,
  ): BackwardResult {
    const { B, G, H, Mq, Mkv } = inputs.sizes;
    if (numel([B, G, H, Mq, Mkv]) === 0) return zeroGradients(inputs, needs);
    const run = new BackwardRun(inputs, given, chooseBackwardTiles(inputs, needs));
    const made: Tensor[] = [];
    const own = (array: DeviceArray, shape: readonly number[], dtype: FloatDType): Tensor => {
      const narrowed = narrow(inputs.runtime, array, dtype);
      const layout = contiguousLayout(shape);
      const tensor = tensorFrom(inputs.device, inputs.runtime, { ...narrowed, layout });
      made.push(tensor);
      return tensor;
    };
    try {
      // First, since the others need the factors of rows that it finds.
      const query = needs.query ? queryGradient(run, own) : undefined;
      if (!needs.query && given.isOwnLse) findFactors(run);
      const { key, value } = needs.key || needs.value
        ? keyGradients(run, needs, own)
        : { key: undefined, value: undefined };
      const bias = needs.bias ? biasGradient(run, own) : undefined;
      return { query, key, value, bias };
    } catch (error) {
      for (const tensor of made) tensor.dispose();
      throw error;
    } finally {
      run.release();
    }
  },
};

/** All gradients where no query meets a key. */
function zeroGradients(
  { device, shapes, storage, biasTensor }: AttentionInputs,
  needs: Readonly<Record<Differentiable, boolean>>,
): BackwardResult {
  const zeros = (name: "query" | "key" | "value") =>
    needs[name] ? device.zeros(shapes[name], { dtype: storage }) : undefined;
  return {
    query: zeros("query"),
    key: zeros("key"),
    value: zeros("value"),
    bias: needs.bias ? device.zeros(biasTensor!.shape, { dtype: biasTensor!.dtype }) : undefined,
  };
}

/** Makes a tensor of this shape and type of an array, which it takes over. */
type Own = (array: DeviceArray, shape: readonly number[], dtype: FloatDType) => Tensor;

function queryGradient(run: BackwardRun, own: Own): Tensor {
  const { shapes, storage } = run.inputs;
  return own(fillQueryGradient(run), shapes.query, storage);
}

/** Both come from one kernel; the one that is not needed is given back. */
function keyGradients(
  run: BackwardRun,
  needs: Readonly<Record<Differentiable, boolean>>,
  own: Own,
): Pick<BackwardResult, "key" | "value"> {
  const { runtime, shapes, storage } = run.inputs;
  const { arrays: [dk, dv], heads, ownHeads } = fillKeyGradients(run);
  const finish = (name: "key" | "value", array: DeviceArray) => {
    if (!needs[name]) {
      array.storage.release();
      return undefined;
    }
    if (ownHeads[name] === heads) return own(array, shapes[name], storage);
    const summed = reduce(runtime, "sum", array, [3]);
    array.storage.release();
    return own(summed, shapes[name], storage);
  };
  return { key: finish("key", dk), value: finish("value", dv) };
}

function biasGradient(run: BackwardRun, own: Own): Tensor {
  const { inputs } = run;
  const { runtime, sizes: { B, G, H, Mq, Mkv }, biasTensor } = inputs;
  const axes = biasAxes(inputs);
  const dtype = biasTensor!.dtype as FloatDType;
  const isRow = axes[3] === 1 && Mq > 1;
  // Rows of keys are summed by a kernel that has all keys at hand; what it sums over queries has them all.
  const shape = isRow ? [...axes.slice(0, 4), Mkv] : [...axes];
  const strides = contiguousLayout(shape).strides.map((stride, axis) =>
    shape[axis] === 1 && [B, G, H, Mq, Mkv][axis]! > 1 ? 0 : stride
  );
  const params = {
    sum_batches: B / axes[0],
    sum_groups: G / axes[1],
    sum_heads: H / axes[2],
    out_batch: strides[0]!,
    out_group: strides[1]!,
    out_head: strides[2]!,
    out_row: strides[3]!,
    out_key: strides[4]!,
  };
  // Only what some row may see is written.
  const sum = fill(runtime, shape, "f32", 0);
  run.launch(isRow ? backwardRowBiasKernel : backwardBiasKernel, isRow ? "key" : "query", {
    output: "f32",
    outputs: [sum],
    jobs: axes[1] * axes[2],
    batches: axes[0],
    params,
  });
  if (!isRow || axes[4] === Mkv) return own(sum, biasTensor!.shape, dtype);
  const whole = reduce(runtime, "sum", sum, [4]);
  sum.storage.release();
  return own(whole, biasTensor!.shape, dtype);
}
