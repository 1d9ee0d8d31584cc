/** The tiles of the backward kernels, and the choice among them. */
import type { DeviceArray } from "../../gpu/array.ts";
import type { Candidate } from "../../gpu/tuning/tuner.ts";
import { scratchArrays } from "../../gpu/tuning/scratch.ts";
import type { BackwardInputs, Differentiable } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { stagedBytes, type Tiles } from "../kernels/_kernel.ts";
import { keyMajorWorkgroupBytes } from "../kernels/_key_steps.ts";
import { backwardKeyTiles, backwardQueryTiles, describeTiles } from "../kernels/tile_config.ts";
import { BackwardRun } from "./backward_run.ts";
import { fillKeyGradients, fillQueryGradient } from "./fill_gradients.ts";
import { problemClass, sampleOf } from "./sample.ts";

/** Tiles of query-major and of key-major kernels. */
export type BackwardTiles = Readonly<Record<"query" | "key", Tiles>>;

/** Tiles that the device has room for, the first for where nothing is measured; that one alone if for none. */
function candidates(inputs: AttentionInputs, major: "query" | "key"): Candidate<Tiles>[] {
  const { sizes: { K, Kv }, runtime: { info }, dropout } = inputs;
  const all = major === "query"
    ? backwardQueryTiles(K, Kv, info.subgroupSize)
    : backwardKeyTiles(K, Kv, info.subgroupSize, dropout !== undefined);
  const fitting = all.filter((tiles) =>
    backwardBytes(inputs, major, tiles) <= info.limits.maxComputeWorkgroupStorageSize
  );
  return (fitting.length > 0 ? fitting : all.slice(0, 1))
    .map((value) => ({ name: describeTiles(value), value }));
}

function backwardBytes(
  { sizes: { K, Kv } }: AttentionInputs,
  major: "query" | "key",
  tiles: Tiles,
): number {
  const config = { headDim: K, valueDim: Kv, ...tiles };
  return major === "query" ? stagedBytes(config) : keyMajorWorkgroupBytes(config);
}

/** Bytes of workgroup memory that the tiles take, at most. */
export function backwardWorkgroupBytes(inputs: AttentionInputs, tiles: BackwardTiles): number {
  return Math.max(
    backwardBytes(inputs, "query", tiles.query),
    backwardBytes(inputs, "key", tiles.key),
  );
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

function choose(inputs: AttentionInputs, major: "query" | "key", usual: BackwardTiles): Tiles {
  const dropout = major === "key" && inputs.dropout ? ", dropout" : "";
  return inputs.runtime.tuner.choose({
    name: `flash_backward_${major} ${problemClass(inputs)}${dropout}`,
    candidates: candidates(inputs, major),
    prepare() {
      const { inputs: sample, extra, dispose } = sampleOf(inputs, ["value", "value"]);
      const { arrays: [lse], dispose: disposeLse } = scratchArrays(
        inputs.runtime,
        [[1, 1, sample.sizes.H, sample.sizes.Mq]],
        "f32",
      );
      const [grad, output] = extra as [DeviceArray, DeviceArray];
      const given = { grad, output, lse: lse!, lseGrad: undefined };
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
  major: "query" | "key",
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
