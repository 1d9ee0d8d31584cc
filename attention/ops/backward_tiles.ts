/** The tiles of the backward kernels, and the choice among them. */
import type { DeviceArray } from "../../gpu/array.ts";
import { memo } from "../../gpu/runtime/memo.ts";
import type { Candidate } from "../../gpu/tuning/tuner.ts";
import { scratchArrays } from "../../gpu/tuning/scratch.ts";
import type { BackwardInputs, Differentiable } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import type { Tiles } from "../kernels/_kernel.ts";
import { keyMajorWorkgroupBytes } from "../kernels/_key_steps.ts";
import { queryMajorWorkgroupBytes } from "../kernels/flash_backward_query.ts";
import { backwardKeyTiles, backwardQueryTiles, describeTiles } from "../kernels/tile_config.ts";
import { BackwardRun, type BackwardTiles } from "./backward_run.ts";
import { fillKeyGradients, fillQueryGradient } from "./fill_gradients.ts";
import { problemClass, sampleOf } from "./sample.ts";

type Major = "query" | "key";

/** Tiles that the device has room for, the first for where nothing is measured; that one alone if for none. */
function candidates(
  { sizes: { K, Kv }, runtime: { info }, bias, dropout }: AttentionInputs,
  major: Major,
): readonly Candidate<Tiles>[] {
  const room = info.limits.maxComputeWorkgroupStorageSize;
  const has = [bias !== undefined, dropout !== undefined] as const;
  return candidatesFor(major, K, Kv, info.subgroupSize, ...has, room);
}

const candidatesFor = memo((
  major: Major,
  K: number,
  Kv: number,
  subgroupSize: number,
  hasBias: boolean,
  hasDropout: boolean,
  room: number,
) => {
  const all = major === "query"
    ? backwardQueryTiles(K, Kv, subgroupSize, hasBias)
    : backwardKeyTiles(K, Kv, subgroupSize, hasBias, hasDropout);
  const fitting = all.filter((tiles) => bytesOf(K, Kv, major, tiles) <= room);
  return (fitting.length > 0 ? fitting : all.slice(0, 1))
    .map((value): Candidate<Tiles> => ({ name: describeTiles(value), value }));
});

function bytesOf(K: number, Kv: number, major: Major, tiles: Tiles): number {
  const config = { headDim: K, valueDim: Kv, ...tiles };
  return major === "query" ? queryMajorWorkgroupBytes(config) : keyMajorWorkgroupBytes(config);
}

/** Bytes of workgroup memory that the tiles take, at most. */
export function backwardWorkgroupBytes(
  { sizes: { K, Kv } }: AttentionInputs,
  { query, key }: BackwardTiles,
): number {
  return Math.max(bytesOf(K, Kv, "query", query), bytesOf(K, Kv, "key", key));
}

/** The tiles for where nothing is measured. */
export function usualBackwardTiles(inputs: AttentionInputs): BackwardTiles {
  return { query: candidates(inputs, "query")[0]!.value, key: candidates(inputs, "key")[0]!.value };
}

/** The tiles to use. The first call for a class of problems may time all of those that gradients need. */
export function chooseBackwardTiles(
  inputs: AttentionInputs,
  needs: Readonly<Record<Differentiable, boolean>>,
): BackwardTiles {
  const usual = usualBackwardTiles(inputs);
  return {
    query: needs.query || needs.bias ? choose(inputs, "query", usual) : usual.query,
    key: needs.key || needs.value ? choose(inputs, "key", usual) : usual.key,
  };
}

function choose(inputs: AttentionInputs, major: Major, usual: BackwardTiles): Tiles {
  const bias = inputs.bias ? ", bias" : "";
  const dropout = major === "key" && inputs.dropout ? ", dropout" : "";
  return inputs.runtime.tuner.choose({
    name: `flash_backward_${major} ${problemClass(inputs)}${bias}${dropout}`,
    candidates: candidates(inputs, major),
    prepare() {
      const { inputs: sample, extra, dispose } = sampleOf(inputs, ["value", "value"]);
      const { arrays: [lse], dispose: disposeLse } = scratchArrays(
        inputs.runtime,
        [[1, 1, sample.sizes.H, sample.sizes.Mq]],
        "f32",
      );
      const [grad, output] = extra as [DeviceArray, DeviceArray];
      const given = { grad, output, lse: lse!, isOwnLse: true, lseGrad: undefined };
      return {
        run: (tiles: Tiles) => fillGradients(sample, given, major, { ...usual, [major]: tiles }),
        dispose() {
          dispose();
          disposeLse();
        },
      };
    },
  });
}

/** Computes gradients of one kind, for the time that it takes. */
function fillGradients(
  inputs: AttentionInputs,
  given: BackwardInputs,
  major: Major,
  tiles: BackwardTiles,
): void {
  const run = new BackwardRun(inputs, given, tiles);
  try {
    const arrays = major === "query" ? [fillQueryGradient(run)] : fillKeyGradients(run).arrays;
    for (const { storage } of arrays) storage.release();
  } finally {
    run.release();
  }
}
