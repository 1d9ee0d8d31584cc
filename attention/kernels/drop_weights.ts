/**
 * Dropout of weights that lie in memory: the same weights as the other kernels drop, for the `math` op. A
 * thread takes one weight. Time and memory O(weights).
 */
import { allocate, type DeviceArray } from "../../gpu/array.ts";
import { IS_NAN } from "../../gpu/ops/accessors.ts";
import { type Kernel, WORKGROUP_INDEX } from "../../gpu/runtime/kernels.ts";
import { paramStruct } from "../../gpu/runtime/params.ts";
import type { Runtime } from "../../gpu/runtime/runtime.ts";
import { ceilDiv, numel } from "../../gpu/shape.ts";
import { dropLimit, type Dropout, keepFactor } from "../score_terms.ts";
import { DROPOUT } from "./_scores.ts";

const THREADS = 128;

const PARAMS = paramStruct({
  elements: "u32",
  heads: "u32",
  queries: "u32",
  keys: "u32",
  key_row: "u32",
  key_step: "u32",
  is_packed: "u32",
  drop_limit: "u32",
  seed_low: "u32",
  seed_high: "u32",
  keep_factor: "f32",
});

const BODY = /* wgsl */ `
@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> key_places: array<i32>;
@group(0) @binding(2) var<storage, read> row_places: array<vec2u>; // block, row
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = workgroup_index(group, groups) * THREADS + thread;
  if (index >= params.elements) { return; }
  let query = index / params.keys % params.queries;
  let head_job = index / params.keys / params.queries;
  let batch = head_job / params.heads;
  let place = key_places[query * params.key_row + index % params.keys * params.key_step];
  let key = u32(max(place, 0)); // Below 0 the weight is hidden, and 0 already.
  let row = row_places[query];
  let block = select(batch, row.x, params.is_packed == 1u);
  let bits = dropped(block, head_job % params.heads, row.y, key / 4u * 4u);
  let is_dropped = ((bits >> (key % 4u)) & 1u) == 1u;
  let weight = weights[index]; // NaN in all of a row that sees one, and to show there.
  out[index] = select(weight * params.keep_factor, 0.0, is_dropped && !is_nan(weight));
}
`;

const KERNEL: Kernel = {
  label: "drop_weights",
  bindings: ["read", "read", "read", "write"],
  source: [
    PARAMS.wgsl,
    `const THREADS = ${THREADS}u;\n`,
    IS_NAN,
    DROPOUT,
    WORKGROUP_INDEX,
    BODY,
  ].join(""),
};

/** What decides which weights are dropped. */
export interface DropWeightsOptions {
  readonly dropout: Dropout;
  /** Index of each key in its row's block, i32 `[Mq, Mkv]` or `[1, Mkv]`. */
  readonly keys: DeviceArray;
  /** Block of each row and index in it, i32 `[Mq, 2]`, dense. */
  readonly rows: DeviceArray;
  /** Whether random numbers go by the rows' blocks instead of the batch. */
  readonly isPacked: boolean;
}

/** Dense f32 weights `[B, G, H, Mq, Mkv]`, dropped or scaled up. */
export function dropWeights(
  runtime: Runtime,
  weights: DeviceArray,
  { dropout, keys, rows, isPacked }: DropWeightsOptions,
): DeviceArray {
  const { shape } = weights.layout;
  const [, G, H, Mq, Mkv] = shape as [number, number, number, number, number];
  const out = allocate(runtime, shape, "f32");
  const elements = numel(shape);
  const [keyRow, keyStep] = keys.layout.strides as [number, number];
  runtime.kernels.dispatch(KERNEL, {
    storages: [weights.storage, keys.storage, rows.storage, out.storage],
    params: PARAMS.pack({
      elements,
      heads: G * H,
      queries: Mq,
      keys: Mkv,
      key_row: keys.layout.shape[0] === 1 ? 0 : keyRow,
      key_step: keyStep,
      is_packed: isPacked ? 1 : 0,
      drop_limit: dropLimit(dropout.p),
      seed_low: dropout.key[0],
      seed_high: dropout.key[1],
      keep_factor: keepFactor(dropout.p),
    }),
    workgroups: ceilDiv(elements, THREADS),
  });
  return out;
}
