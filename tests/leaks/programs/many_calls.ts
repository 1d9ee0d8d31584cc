// deno-lint-ignore-file no-console -- what it prints is its result
/**
 * Many calls of attention in a process of their own, whose memory is looked at before and after.
 *
 *     deno run -A tests/leaks/programs/many_calls.ts using|tidy|turns|reads CALLS
 *
 * With `using` and `tidy` results are disposed in that way. With `turns` and `reads` nobody disposes anything: V8
 * collects at its own pace, while the event loop turns between the calls, or while nothing is awaited but results.
 * Prints a {@linkcode Report} as JSON.
 *
 * @module
 */
import {
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalMask,
  type Device,
  LowerTriangularMask,
  memoryEfficientAttention,
  type MemoryEfficientAttentionOptions,
  type MemoryStats,
  PagedBlockDiagonalPaddedKeysMask,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { collectGarbage, collectUntil } from "../_garbage.ts";

/** Who gives the memory of results back. */
export type Mode = "using" | "tidy" | "turns" | "reads";

/** The state of the process between two calls. */
export interface Snapshot {
  readonly memory: MemoryStats;
  /** Bytes that the process takes, those of a driver that computes on the CPU included. */
  readonly rss: number;
}

/** What the program prints. */
export interface Report {
  /** Behind the calls that warm up, with all garbage collected. */
  readonly before: Snapshot;
  /** Behind all calls; where nobody disposes, before any garbage is collected on demand. */
  readonly after: Snapshot;
  /** Likewise, with all garbage collected. */
  readonly collected: Snapshot;
  /** Most tensors alive behind any call. */
  readonly mostTensors: number;
}

/** A kind of call. */
interface Call {
  readonly dtype: "f32" | "f16" | "bf16";
  readonly gradients: boolean;
  readonly options: MemoryEfficientAttentionOptions;
}

const LENGTH = 12;
const SHAPE = [1, LENGTH, 2, 8];
const WARM_UP = 1000;

/**
 * Where results are disposed, what is collected behind so many calls is small objects: left to V8, their heap makes the
 * process some 10 or 20 MiB larger, and hides what is kept.
 */
const CALLS_PER_COLLECTION = 1000;

/** A turn of the event loop comes behind so many calls, a read behind so many. */
const CALLS_PER_TURN = 50;
const CALLS_PER_READ = 20;

const CALLS: readonly Call[] = [
  { dtype: "f32", gradients: false, options: {} },
  { dtype: "f16", gradients: false, options: { attnBias: new LowerTriangularMask() } },
  { dtype: "f32", gradients: true, options: { attnBias: new LowerTriangularMask() } },
  { dtype: "bf16", gradients: false, options: { attnBias: BlockDiagonalMask.fromSeqlens([5, 7]) } },
  { dtype: "f32", gradients: false, options: { p: 0.1, seed: 3, alibiSlopes: [0.5, 0.25] } },
  { dtype: "f32", gradients: true, options: { p: 0.1, seed: 3 } },
  {
    dtype: "f16",
    gradients: false,
    options: {
      attnBias: BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([4, 8], 6, [6, 5]),
    },
  },
  {
    dtype: "f32",
    gradients: false,
    options: {
      attnBias: PagedBlockDiagonalPaddedKeysMask.fromSeqlens([4, 8], [6, 5], [[2, 0], [1]], 6),
    },
  },
];

/** Query, key and value of each kind of call. */
function inputsOf(device: Device): Tensor[][] {
  return CALLS.map(({ dtype, options: { attnBias } }) => {
    const keys = attnBias instanceof PagedBlockDiagonalPaddedKeysMask ? 18 : LENGTH;
    return [SHAPE, SHAPE.with(1, keys), SHAPE.with(1, keys)]
      .map((shape, i) => device.randn(shape, { dtype, seed: i + 1 }));
  });
}

/** Calls attention once. Without gradients the output is all that is made. */
function attend({ gradients, options }: Call, inputs: readonly Tensor[]): Tensor {
  if (!gradients) return memoryEfficientAttention(inputs[0]!, inputs[1]!, inputs[2]!, options);
  const [q, k, v] = inputs.map((input) => {
    const leaf = input.detach();
    leaf.requiresGrad = true;
    return leaf;
  });
  const out = memoryEfficientAttention(q!, k!, v!, options);
  out.sum().backward();
  return out;
}

/** As {@linkcode attend}, disposing by `using` all that it makes. */
function attendUsing({ gradients, options }: Call, inputs: readonly Tensor[]): void {
  using q = inputs[0]!.detach();
  using k = inputs[1]!.detach();
  using v = inputs[2]!.detach();
  q.requiresGrad = k.requiresGrad = v.requiresGrad = gradients;
  using out = memoryEfficientAttention(q, k, v, options);
  if (!gradients) return;
  using sum = out.sum();
  sum.backward();
}

async function snapshot(device: Device): Promise<Snapshot> {
  await device.sync();
  return { memory: device.memory(), rss: Deno.memoryUsage().rss };
}

async function main(mode: Mode, calls: number): Promise<Report> {
  using device = await requestDevice({ tune: false });
  const inputs = inputsOf(device);
  const held = device.memory().tensors;
  let mostTensors = 0;
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const [call, given] = [CALLS[i % CALLS.length]!, inputs[i % CALLS.length]!];
      if (mode === "using") attendUsing(call, given);
      else if (mode === "tidy") tidy(() => void attend(call, given));
      else {
        const out = attend(call, given);
        if (mode === "reads" && i % CALLS_PER_READ === 0) await out.data();
      }
      mostTensors = Math.max(mostTensors, device.memory().tensors);
      if (mode !== "reads" && i % CALLS_PER_TURN === 0) {
        await new Promise((done) => setTimeout(done, 0));
      }
    }
  };
  const collect = async () => {
    collectGarbage(); // Of what is disposed there is garbage as well.
    await collectUntil(() => device.memory().tensors <= held);
  };
  await run(WARM_UP);
  await collect();
  const before = await snapshot(device);
  if (mode === "using" || mode === "tidy") {
    for (let left = calls; left > 0; left -= CALLS_PER_COLLECTION) {
      await run(Math.min(left, CALLS_PER_COLLECTION));
      await collect();
    }
  } else await run(calls);
  const after = await snapshot(device);
  await collect();
  return { before, after, collected: await snapshot(device), mostTensors };
}

if (import.meta.main) {
  const [mode, calls] = Deno.args;
  console.log(JSON.stringify(await main(mode as Mode, Number(calls))));
}
