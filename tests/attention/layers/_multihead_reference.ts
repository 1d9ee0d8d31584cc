/** PyTorch's multi-head attention by its documentation: plain loops in float64, one row at a time. */
import type { MultiheadAttention, StateDict } from "@denoformers/attention";
import { numel } from "../../../gpu/shape.ts";
import { randomValues } from "../_compare.ts";
import { affine, type Host, host } from "./_host.ts";

/** What `torch.nn.MultiheadAttention` is told, in its own order of axes with `batchFirst`. */
export interface MultiheadCase {
  readonly numHeads: number;
  /** Weights by PyTorch's names. */
  readonly state: Readonly<Record<string, Host>>;
  readonly addZeroAttn?: boolean;
  /** `[N, L, E]`, `[N, S, kdim]`, `[N, S, vdim]`. */
  readonly query: Host;
  readonly key: Host;
  readonly value: Host;
  /** Added to the scores, -Infinity where blocked: `[L, S]` or `[N * numHeads, L, S]`. */
  readonly attnMask?: Host;
  /** The same, `[N, S]`. */
  readonly keyPaddingMask?: Host;
  readonly isCausal?: boolean;
}

/** out `[N, L, E]`, and the weights of each head, `[N, H, L, S]` with S counting the added keys. */
export function referenceMultihead(
  testCase: MultiheadCase,
): { out: Host; weights: { shape: number[]; data: Float64Array } } {
  const { numHeads: H, state, query, key, value } = testCase;
  const [N, L, E] = query.shape as [number, number, number];
  const S = key.shape[1]!;
  const D = E / H;
  const [q, k, v] = [query, key, value].map((x, i) => affine(x, ...projection(state, i, E)));
  const added = [
    ...(state["bias_k"] ? [[state["bias_k"], state["bias_v"]!]] : []),
    ...(testCase.addZeroAttn ? [[undefined, undefined]] : []),
  ];
  const total = S + added.length;
  const weights = new Float64Array(N * H * L * total);
  const heads = new Float64Array(N * L * E);
  for (let n = 0; n < N; n++) {
    for (let h = 0; h < H; h++) {
      /** Element `d` of key or value `j` of this head. */
      const at = (x: Host, which: 0 | 1, j: number, d: number) =>
        j < S ? x.data[(n * S + j) * E + h * D + d]! : added[j - S]![which]?.data[h * D + d] ?? 0;
      for (let i = 0; i < L; i++) {
        const scores = Array.from({ length: total }, (_, j) => {
          const mask = j < S ? maskAt(testCase, n, h, i, j) : 0;
          if (mask === -Infinity) return -Infinity;
          let dot = 0;
          for (let d = 0; d < D; d++) {
            dot += q!.data[(n * L + i) * E + h * D + d]! * at(k!, 0, j, d);
          }
          return dot / Math.sqrt(D) + mask;
        });
        const greatest = Math.max(...scores);
        const exps = scores.map((s) => greatest === -Infinity ? 0 : Math.exp(s - greatest));
        const sum = exps.reduce((a, b) => a + b, 0) || 1;
        for (const [j, exp] of exps.entries()) {
          weights[((n * H + h) * L + i) * total + j] = exp / sum;
          for (let d = 0; exp > 0 && d < D; d++) {
            heads[(n * L + i) * E + h * D + d]! += exp / sum * at(v!, 1, j, d);
          }
        }
      }
    }
  }
  const out = affine(
    { shape: [N, L, E], data: heads },
    state["out_proj.weight"]!,
    state["out_proj.bias"],
  );
  return { out, weights: { shape: [N, H, L, total], data: weights } };
}

/** The mean over the heads: `[N, L, S]` of `[N, H, L, S]`. */
export function averaged({ shape, data }: { shape: number[]; data: Float64Array }): Host {
  const [N, H, L, S] = shape as [number, number, number, number];
  const mean = Float64Array.from({ length: N * L * S }, (_, at) => {
    const [n, rest] = [Math.floor(at / (L * S)), at % (L * S)];
    let sum = 0;
    for (let h = 0; h < H; h++) sum += data[(n * H + h) * L * S + rest]!;
    return sum / H;
  });
  return { shape: [N, L, S], data: mean };
}

function maskAt(
  { numHeads, attnMask, keyPaddingMask, isCausal = false, query, key }: MultiheadCase,
  n: number,
  h: number,
  i: number,
  j: number,
): number {
  const [L, S] = [query.shape[1]!, key.shape[1]!];
  const matrix = attnMask?.shape.length === 3 ? n * numHeads + h : 0;
  if (isCausal && j > i) return -Infinity;
  return (attnMask?.data[(matrix * L + i) * S + j] ?? 0) + (keyPaddingMask?.data[n * S + j] ?? 0);
}

/** Weight and bias of the projection of the query, the key or the value. */
function projection(
  state: Readonly<Record<string, Host>>,
  which: number,
  E: number,
): [weight: Host, bias?: Host] {
  const third = (x: Host): Host => ({
    shape: x.shape.with(0, E),
    data: Array.from(x.data).slice(which * x.data.length / 3, (which + 1) * x.data.length / 3),
  });
  const packed = state["in_proj_weight"];
  const weight = packed ? third(packed) : state[`${"qkv"[which]}_proj_weight`]!;
  const bias = state["in_proj_bias"];
  return bias ? [weight, third(bias)] : [weight];
}

/** New weights, none of them zero as biases are at first. */
export function randomize(layer: MultiheadAttention): void {
  const state: StateDict = {};
  for (const [i, [name, { shape }]] of Object.entries(layer.stateDict()).entries()) {
    const scale = name.includes("weight") ? shape.at(-1)! ** -0.5 : 0.5;
    state[name] = layer.outProj.weight.device.tensor(randomValues(numel(shape), 50 + i, scale), {
      shape,
    });
  }
  layer.loadStateDict(state);
  for (const tensor of Object.values(state)) tensor.dispose();
}

/** The weights on the host. */
export async function hostState(layer: MultiheadAttention): Promise<Record<string, Host>> {
  const entries = Object.entries(layer.stateDict())
    .map(async ([name, tensor]) => [name, await host(tensor)] as const);
  return Object.fromEntries(await Promise.all(entries));
}
