/** The forms of the forward kernel, and the choice among them. */
import type { DeviceArray } from "../../gpu/array.ts";
import { memo } from "../../gpu/runtime/memo.ts";
import type { Candidate } from "../../gpu/tuning/tuner.ts";
import type { AttentionInputs } from "../inputs.ts";
import { stagedBytes, type Tiles } from "../kernels/_kernel.ts";
import { flashForwardBlockRows, flashForwardKernel } from "../kernels/flash_forward.ts";
import {
  shuffleForwardBlockRows,
  shuffleForwardKernel,
  shuffleForwardTiles,
} from "../kernels/shuffle_forward.ts";
import { describeTiles, forwardTiles, halfForwardTiles } from "../kernels/tile_config.ts";
import { compiledIn } from "./compiled.ts";
import { type AttentionWork, runAttention } from "./launch.ts";
import { problemClass, sampleOf } from "./sample.ts";

/** What products are taken in, and few of them summed in. */
export type Products = "f32" | "f16";

/** A kernel, and how it divides the work. */
export interface ForwardForm extends Pick<AttentionWork, "kernel" | "blockRows"> {
  readonly tiles: Tiles;
  readonly products: Products;
  /** Bytes of workgroup memory that it takes. */
  readonly workgroupBytes: number;
}

/**
 * Forms for these inputs that the device has room for, the first for where nothing is measured. If there is room
 * for none, that one alone.
 */
export function forwardForms(
  { sizes: { K, Kv }, runtime }: AttentionInputs,
  products: Products = "f32",
): readonly Candidate<ForwardForm>[] {
  const { subgroupSize, limits } = runtime.info;
  return formsFor(products, K, Kv, subgroupSize, limits.maxComputeWorkgroupStorageSize);
}

type FormArguments = [
  products: Products,
  K: number,
  Kv: number,
  subgroupSize: number,
  room: number,
];

const formsFor = memo((...[products, K, Kv, subgroupSize, room]: FormArguments) => {
  const all = products === "f16"
    ? halfForwardTiles(K, Kv, subgroupSize).map((tiles) => flashForm(K, Kv, tiles, products))
    : [
      ...shuffleForms(K, Kv, subgroupSize),
      ...forwardTiles(K, Kv, subgroupSize).map((tiles) => flashForm(K, Kv, tiles, products)),
    ];
  const fitting = all.filter(({ value }) => value.workgroupBytes <= room);
  return fitting.length > 0 ? fitting : all.slice(0, 1);
});

function flashForm(
  K: number,
  Kv: number,
  tiles: Tiles,
  products: Products,
): Candidate<ForwardForm> {
  return {
    name: describeTiles(tiles),
    value: {
      kernel: flashForwardKernel,
      tiles,
      products,
      blockRows: flashForwardBlockRows(tiles),
      workgroupBytes: stagedBytes({ headDim: K, valueDim: Kv, ...tiles }),
    },
  };
}

/** The form for narrow subgroups, where these are. */
function shuffleForms(K: number, Kv: number, subgroupSize: number): Candidate<ForwardForm>[] {
  const tiles = shuffleForwardTiles(K, Kv, subgroupSize);
  if (!tiles) return [];
  const { rows, threads } = tiles;
  return [{
    name: `shuffles, ${rows} row${rows > 1 ? "s" : ""} a thread, ${threads} threads`,
    value: {
      kernel: shuffleForwardKernel,
      tiles,
      products: "f32",
      blockRows: shuffleForwardBlockRows(tiles),
      workgroupBytes: 0,
    },
  }];
}

/** The form to use. The first call for a class of problems may time all of them. */
export function chooseForwardForm(
  inputs: AttentionInputs,
  products: Products = "f32",
): ForwardForm {
  const note = products === "f16" ? ", products in f16" : "";
  return inputs.runtime.tuner.choose({
    name: `flash_forward ${problemClass(inputs)}${note}`,
    candidates: forwardForms(inputs, products),
    prepare() {
      const { inputs: sample, extra, dispose } = sampleOf(inputs, ["value"]);
      return { run: (form: ForwardForm) => attend(sample, form, extra[0]!), dispose };
    },
  });
}

/** Work by a form. */
export function workBy(
  inputs: AttentionInputs,
  { kernel, tiles, blockRows, products }: ForwardForm,
): AttentionWork {
  const config = { ...tiles, ...compiledIn(inputs), halfProducts: products === "f16" };
  return { kernel, config, blockRows, rowHeads: 1, splits: 1 };
}

function attend(inputs: AttentionInputs, form: ForwardForm, out: DeviceArray): void {
  runAttention(inputs, workBy(inputs, form), { out, lse: undefined });
}
