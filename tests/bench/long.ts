// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Attention over a million keys, and over 131,072 tokens with a causal window of 256, with a few rows of each held
 * against float64. Fails if one is wrong, or takes more memory than inputs, output and 16 MiB.
 *
 *     deno task bench:long
 */
import {
  LowerTriangularFromBottomRightLocalAttentionMask,
  memoryEfficientAttention,
  requestDevice,
} from "@denoformers/attention";
import { outRow } from "./truth.ts";

const K = 64;
const MIB = 2 ** 20;

/** Rows are sums of up to a million products in f32; weights sum to 1 and values are below 6. */
const TOLERANCE = 2e-6;

using device = await requestDevice();
console.log(device.info.adapter);

async function check(name: string, queries: number, keys: number, window?: number): Promise<void> {
  using q = device.randn([1, queries, 1, K], { seed: 1 });
  using k = device.randn([1, keys, 1, K], { seed: 2 });
  using v = device.randn([1, keys, 1, K], { seed: 3 });
  const attnBias = window && new LowerTriangularFromBottomRightLocalAttentionMask(window);
  memoryEfficientAttention(q, k, v, { attnBias: attnBias || undefined }).dispose(); // Compiles.
  await device.sync();
  device.resetPeakMemory();
  const before = device.memory().allocatedBytes;
  const start = performance.now();
  using out = memoryEfficientAttention(q, k, v, { attnBias: attnBias || undefined });
  const result = await out.data();
  const seconds = (performance.now() - start) / 1000;
  const beyond = device.memory().peakBytes - before - result.byteLength;

  const [query, key, value] = await Promise.all([q, k, v].map((tensor) => tensor.data()));
  const head = { query: query!, key: key!, value: value!, gradient: new Float32Array(0), K };
  let error = 0;
  for (const row of [0, 1, queries >> 1, queries - 1]) {
    const end = window ? row + 1 : keys;
    const begin = window ? Math.max(0, end - window) : 0;
    const expected = outRow(head, row, { begin, end, added: () => 0 });
    for (const [d, x] of expected.entries()) {
      error = Math.max(error, Math.abs(x - result[row * K + d]!));
    }
  }
  console.log(
    `${name.padEnd(52)} ${seconds.toFixed(2).padStart(7)} s   ${
      (beyond / MIB).toFixed(2)
    } MiB beyond inputs and output   error ${error.toExponential(1)}`,
  );
  if (!(error <= TOLERANCE)) throw new Error(`${name} is wrong: an error of ${error}`);
  if (beyond > 16 * MIB) throw new Error(`${name} takes ${beyond} bytes beyond inputs and output`);
}

await check("1,024 queries, 1,048,576 keys", 1024, 2 ** 20);
await check("131,072 tokens, causal, a window of 256", 2 ** 17, 2 ** 17, 256);
