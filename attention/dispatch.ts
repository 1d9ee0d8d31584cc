/** Which op computes: the first that has nothing against the inputs. */
import type { Tensor } from "../gpu/tensor/tensor.ts";
import type { AttentionInputs } from "./inputs.ts";

/** A forward result; `lse` only if it was asked for. */
export interface ForwardResult {
  /** Dense, of `inputs.outShape`. */
  readonly out: Tensor;
  /** Dense, of `inputs.lseShape`. */
  readonly lse: Tensor | undefined;
}

/** One way to compute attention. */
export interface ForwardOp {
  /** What it is called in errors, profiles and choices. */
  readonly name: string;
  /** Why it cannot take these inputs; none if it can. */
  notSupportedReasons(inputs: AttentionInputs): string[];
  /** Enqueues the work. */
  forward(inputs: AttentionInputs, options: { lse: boolean }): ForwardResult;
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
export function chooseForwardOp(
  caller: string,
  inputs: AttentionInputs,
  ops: readonly ForwardOp[],
  forced?: ForwardOp,
): ForwardOp {
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
