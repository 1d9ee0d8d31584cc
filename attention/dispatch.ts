/**
 * What an op is, forward and backward, and the choice of one: the first of a list that has nothing against the inputs.
 * The lists, best first, are in `ops/mod.ts`.
 */
import type { DeviceArray } from "../gpu/array.ts";
import type { Tensor } from "../gpu/tensor/tensor.ts";
import type { AttentionInputs } from "./inputs.ts";

/** A forward result; `lse` only if it was asked for. */
export interface ForwardResult {
  /** Dense, of `inputs.outShape`. */
  readonly out: Tensor;
  /** Of `inputs.lseShape`, with both words, see `ops/log_sum_exp.ts`. */
  readonly lse: Tensor | undefined;
}

/** One way to compute something about attention. */
export interface Op {
  /** What it is called in errors, profiles and choices. */
  readonly name: string;
  /** Why it cannot take these inputs; none if it can. */
  notSupportedReasons(inputs: AttentionInputs): string[];
}

/** One way to compute attention. */
export interface ForwardOp extends Op {
  /** Enqueues the work. */
  forward(inputs: AttentionInputs, options: { lse: boolean }): ForwardResult;
}

/** What a forward pass gave, and the gradients of that. */
export interface BackwardInputs {
  /** Gradient of the output, `[B, Mq, G, H, Kv]`; any strides. */
  readonly grad: DeviceArray;
  /** The output, of the same shape. */
  readonly output: DeviceArray;
  /** The log-sum-exp, `[B, G, H, Mq]`, f32. */
  readonly lse: DeviceArray;
  /**
   * Whether it is that of these keys and of no others. The weights of each row then sum to 1, and are made to: what
   * rounding leaves of scores and log-sum-exps far from zero would make them differ by a factor.
   */
  readonly isOwnLse: boolean;
  /** Gradient of the log-sum-exp, of its shape, if it has one. */
  readonly lseGrad: DeviceArray | undefined;
}

/** What has a gradient. */
export type Differentiable = "query" | "key" | "value" | "bias";

/** Gradients of what was asked for, each of its input's shape and dtype. */
export type BackwardResult = Readonly<Record<Differentiable, Tensor | undefined>>;

/** One way to compute attention's gradients. */
export interface BackwardOp extends Op {
  /** Enqueues the work. */
  backward(
    inputs: AttentionInputs,
    given: BackwardInputs,
    needs: Readonly<Record<Differentiable, boolean>>,
  ): BackwardResult;
}

/**
 * The op to use.
 *
 * @param caller Name of the public function, for messages.
 * @param inputs Checked arguments.
 * @param ops The ops to choose from, best first.
 * @param forced The one that the caller insists on.
 * @throws {RangeError} If the forced op, or every op, has reasons; all are listed.
 */
export function chooseOp<T extends Op>(
  caller: string,
  inputs: AttentionInputs,
  ops: readonly T[],
  forced?: T,
): T {
  const refusals: string[] = [];
  for (const op of forced ? [forced] : ops) {
    const reasons = op.notSupportedReasons(inputs);
    if (reasons.length === 0) return op;
    refusals.push(
      `\`${op.name}\` is not supported because:`,
      ...reasons.map((reason) => `    ${reason}`),
    );
  }
  throw new RangeError(
    [
      forced
        ? `Cannot run ${caller} with op \`${forced.name}\` on these inputs:`
        : `Cannot run ${caller}: no op supports these inputs:`,
      ...inputs.description.map((line) => `    ${line}`),
      ...refusals,
    ].join("\n"),
  );
}
