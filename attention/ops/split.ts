/** The op for few queries against many keys: {@linkcode splitForward}. */
import { ceilDiv } from "../../gpu/shape.ts";
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { stagedBytes } from "../kernels/_kernel.ts";
import { splitForwardKernel, splitForwardWorkgroupBytes } from "../kernels/split_forward.ts";
import { chooseSplits, chooseSplitTiles } from "../kernels/tile_config.ts";
import { compiledIn } from "./compiled.ts";
import { forwardForms, workBy } from "./forward_forms.ts";
import { type AttentionWork, runAttention } from "./launch.ts";
import { bindingReasons, headDimReasons, workgroupMemoryReasons } from "./reasons.ts";
import { withResults } from "./results.ts";
import { sequencesOf, sharesKeys } from "./sequences.ts";

/**
 * Attention with the keys cut into parts for workgroups of their own, whose results are merged: for
 * decoding, where few queries would leave most of a device idle. Up to 16 rows go through
 * {@linkcode splitForwardKernel}, where heads that share a key head read it together, more through
 * the kernel that is usual on the adapter. Memory O(B Mq H Kv) for each part.
 */
export const splitForward: ForwardOp = {
  name: "splitKF",

  notSupportedReasons(inputs: AttentionInputs): string[] {
    return [
      ...headDimReasons(inputs),
      ...workgroupMemoryReasons(inputs, workgroupBytes(splitWork(inputs))),
      ...bindingReasons(inputs, { canCut: false }),
    ];
  },

  forward(inputs: AttentionInputs, { lse }: { lse: boolean }): ForwardResult {
    return withResults(inputs, lse, (outputs) => runAttention(inputs, splitWork(inputs), outputs));
  },
};

function workgroupBytes({ kernel, config }: AttentionWork): number {
  return kernel === splitForwardKernel ? splitForwardWorkgroupBytes(config) : stagedBytes(config);
}

/** Rows up to which each workgroup reads keys straight into registers instead of staging them. */
const FEW_ROWS = 16;

/** Fewer keys are not worth two kernels. */
const MANY_KEYS = 256;

/**
 * Whether inputs are such that {@linkcode splitForward} is to be tried first: there are many keys, and so few
 * rows that a workgroup would read all keys for a handful of them, or that too few workgroups had work.
 */
export function prefersSplit(inputs: AttentionInputs): boolean {
  const { queries, rows, keys } = longest(inputs);
  if (rows === 0 || keys < MANY_KEYS) return false;
  return rows <= FEW_ROWS ||
    (queries <= wholeWork(inputs).blockRows && splitWork(inputs).splits > 1);
}

/** The usual kernel for more rows. */
function wholeWork(inputs: AttentionInputs): AttentionWork {
  return workBy(inputs, forwardForms(inputs)[0]!.value);
}

/** The most queries and keys of a block, and the rows that share a key head. */
function longest(inputs: AttentionInputs): { queries: number; rows: number; keys: number } {
  const { mask, sizes: { Mq, Mkv, H } } = inputs;
  const blocks = mask.blocks ? sequencesOf(inputs) : [{ queries: Mq, keys: Mkv }];
  const queries = blocks.reduce((most, block) => Math.max(most, block.queries), 0);
  const keys = blocks.reduce((most, block) => Math.max(most, block.keys), 0);
  return { queries, rows: sharesKeys(inputs) ? queries * H : queries, keys };
}

/** The kernel for these inputs, and how it divides the work. */
export function splitWork(inputs: AttentionInputs): AttentionWork {
  const { sizes: { B, G, H, K, Kv }, mask, runtime: { info } } = inputs;
  const { queries, rows, keys } = longest(inputs);
  const blocks = mask.blocks?.length ?? B;
  if (rows > FEW_ROWS) {
    const work = wholeWork(inputs);
    const jobs = blocks * ceilDiv(queries, work.blockRows) * G * H;
    return { ...work, splits: chooseSplits(jobs, keys, info.isFallback) };
  }
  const rowHeads = sharesKeys(inputs) ? H : 1;
  const tiles = chooseSplitTiles(K, Kv, info.subgroupSize, Math.max(1, rows));
  const jobs = blocks * ceilDiv(rows, tiles.rows) * G * (H / rowHeads);
  return {
    kernel: splitForwardKernel,
    config: { ...tiles, ...compiledIn(inputs) },
    blockRows: tiles.rows,
    rowHeads,
    splits: chooseSplits(jobs, keys, info.isFallback),
  };
}
