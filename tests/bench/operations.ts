// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Times what stands around attention: first calls, the host's time for an operation, bytes that elementwise and row
 * kernels move beside those of a copy, and matrix products beside the adapter's multiply-adds.
 *
 *     deno task bench:ops
 */
import {
  type Device,
  LowerTriangularMask,
  memoryEfficientAttention,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { type Ceilings, measureCeilings } from "./ceilings.ts";
import { median } from "./measure.ts";

/** GPU time of one measurement, in ms: enough for a GPU's clocks to come up. */
const BUSY = { cpu: 20, gpu: 60 };

/** Calls one behind the other, as a layer makes them, when the host's time is measured. */
const CALLS = 32;

const begin = performance.now();
using device: Device = await requestDevice();
console.log(`${device.info.adapter}, requestDevice() ${(performance.now() - begin).toFixed(0)} ms`);
const isCpu = device.info.isFallback;

function print(name: string, ...columns: string[]): void {
  console.log(name.padEnd(38), ...columns.map((column) => column.padStart(15)));
}

/** First and second call until the result is there, in ms. */
async function firstCalls(name: string, fn: () => Tensor): Promise<void> {
  const times: number[] = [];
  for (let call = 0; call < 2; call++) {
    const start = performance.now();
    using _ = fn();
    await device.sync();
    times.push(performance.now() - start);
  }
  print(name, ...times.map((time) => `${time.toFixed(1)} ms`));
}

/** Host time of a call, in microseconds: the mean of several without a wait, the median of many such. */
async function hostTime(name: string, fn: () => Tensor): Promise<void> {
  const means: number[] = [];
  for (let turn = 0; turn < 60; turn++) {
    const start = performance.now();
    for (let call = 0; call < CALLS; call++) fn().dispose();
    means.push(1000 * (performance.now() - start) / CALLS);
    await device.sync();
  }
  print(name, `${median(means)!.toFixed(1)} us`);
}

/** Median time of a call on the GPU, in ms. */
async function gpuTime(fn: () => Tensor): Promise<number> {
  const run = async (calls: number) =>
    (await device.profile(() => {
      for (let call = 0; call < calls; call++) fn().dispose();
    })).milliseconds / calls;
  await run(1);
  const calls = Math.min(200, Math.ceil(BUSY[isCpu ? "cpu" : "gpu"] / await run(1)));
  await run(calls);
  return median([await run(calls), await run(calls), await run(calls)])!;
}

async function bandwidth(name: string, bytes: number, fn: () => Tensor): Promise<void> {
  const time = await gpuTime(fn);
  const rate = bytes / time / 1e6;
  const share = ceilings && 100 * rate / ceilings.copy.rate;
  print(
    name,
    `${time.toFixed(3)} ms`,
    `${rate.toFixed(0)} GB/s`,
    `${share?.toFixed(0)} % of a copy`,
  );
}

async function product([m, n, k]: readonly [number, number, number], isTransposed: boolean) {
  using a = device.randn([m, k], { seed: 1 });
  using b = device.randn(isTransposed ? [n, k] : [k, n], { seed: 2 });
  using view = isTransposed ? b.transpose(0, 1) : b.reshape([k, n]);
  const time = await gpuTime(() => a.matmul(view));
  const rate = 2 * m * n * k / time / 1e9;
  const share = ceilings && 100 * rate / ceilings.f32.rate;
  const name = `[${m}, ${k}] x [${k}, ${n}]${isTransposed ? ", transposed" : ""}`;
  print(
    name,
    `${time.toFixed(3)} ms`,
    `${rate.toPrecision(3)} TFLOP/s`,
    `${share?.toFixed(0)} % of FMA`,
  );
}

console.log("\nUntil the result is there: first call, second call");
const [q, k, v] = [1, 2, 3].map((seed) => device.randn([1, 256, 8, 64], { seed }));
const causal = { attnBias: new LowerTriangularMask() };
await firstCalls("attention [1, 256, 8, 64]", () => memoryEfficientAttention(q!, k!, v!));
await firstCalls("the same, causal", () => memoryEfficientAttention(q!, k!, v!, causal));
const small = device.randn([16, 16], { seed: 4 });
await firstCalls("add", () => small.add(small));
await firstCalls("softmax", () => small.softmax(-1));
await firstCalls("matmul", () => small.matmul(small));

console.log(`\nTime of the host for a call, ${CALLS} in a row`);
const [row, tiny] = [device.randn([16], { seed: 5 }), device.randn([1, 16, 2, 16], { seed: 6 })];
await hostTime("add", () => small.add(small));
await hostTime("add, broadcast", () => small.add(row));
await hostTime("gelu", () => small.gelu());
await hostTime("softmax", () => small.softmax(-1));
await hostTime("layerNorm", () => small.layerNorm({ weight: row, bias: row }));
await hostTime("sum", () => small.sum());
await hostTime("matmul", () => small.matmul(small));
await hostTime("attention [1, 16, 2, 16]", () => memoryEfficientAttention(tiny, tiny, tiny));

const ceilings: Ceilings | null = await measureCeilings();
if (!ceilings) throw new Error(`${device.info.adapter} has no timestamps to time kernels by`);
const columns = 1024;
const rows = (isCpu ? 8 : 256) * 2 ** 20 / 4 / columns; // Of one operand, beyond caches.
console.log(
  `\nBytes read and written, [${rows}, ${columns}] f32; a copy: ${
    ceilings.copy.rate.toFixed(0)
  } GB/s`,
);
const operand = 4 * rows * columns;
const [x, y] = [7, 8].map((seed) => device.randn([rows, columns], { seed })) as [Tensor, Tensor];
const weight = device.randn([columns], { seed: 9 });
await bandwidth("add", 3 * operand, () => x.add(y));
await bandwidth("add, broadcast", 2 * operand, () => x.add(weight));
await bandwidth("gelu", 2 * operand, () => x.gelu());
await bandwidth("to f16", 1.5 * operand, () => x.to("f16"));
await bandwidth("transposed copy", 2 * operand, () => tidy(() => x.transpose(0, 1).contiguous()));
await bandwidth("softmax", 2 * operand, () => x.softmax(-1));
await bandwidth("layerNorm", 2 * operand, () => x.layerNorm({ weight, bias: weight }));
await bandwidth("sum over columns", operand, () => x.sum({ axis: 1 }));
await bandwidth("sum over rows", operand, () => x.sum({ axis: 0 }));

console.log(`\nProducts, f32; multiply-adds: ${ceilings.f32.rate.toPrecision(3)} TFLOP/s`);
const products: readonly (readonly [number, number, number])[] = isCpu
  ? [[512, 512, 512], [1024, 1024, 1024], [588, 2304, 768]]
  : [[1024, 1024, 1024], [2048, 2048, 2048], [4096, 4096, 4096], [588, 2304, 768], [
    4096,
    3072,
    768,
  ]];
for (const sizes of products) {
  for (const isTransposed of [false, true]) await product(sizes, isTransposed);
}
