// deno-lint-ignore-file no-console -- a program whose output is read
/**
 * Takes all memory that the driver has, then tries what needs more of it, and prints one line of JSON for each:
 * what came of it, and whether what was there before is still right. For SwiftShader on Linux.
 */
import { memoryEfficientAttention, requestDevice } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import type { Storage } from "../../../gpu/runtime/memory.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";

const MIB = 2 ** 20;

/** What the filling below takes at a time: it leaves less than this. */
const PIECE = 16 * MIB;

/** A tensor of four pieces: too large even where the runtime gives back some memory of its own meanwhile. */
const SHAPE = [1, 16, 16384, 64]; // Few tokens, so that attention is cheap.
const BYTES = 4 * PIECE;

using device = await requestDevice({ tune: false });
const runtime = runtimeOf(device);
const tracked = () => device.ones(SHAPE, { requiresGrad: true });
const [query, key, value] = [tracked(), tracked(), tracked()];
// Compiles all kernels: SwiftShader's compiler ends the process where it finds no memory for itself.
memoryEfficientAttention(query, key, value).dispose();
query.add(1).dispose();
const out = query.mul(key);
{
  using ones = device.ones(SHAPE);
  query.mul(key).backward(ones);
  for (const input of [query, key]) input.zeroGrad();
}
const kept = device.tensor([1, 2, 3]);
const gradient = device.ones(SHAPE);
const target = device.ones(SHAPE);
const onHost = new Float32Array(BYTES / 4);
await device.sync();
device.emptyCache();

/** Nobody writes to these: on a CPU, memory that is not touched costs nothing. */
const filling: Storage[] = [];
limitData(128 * MIB);
await report("fill", fill());

await attempt("factory", () => device.zeros(SHAPE).data());
await attempt("upload", () => device.tensor(onHost, { shape: SHAPE }).data());
await attempt("elementwise", () => query.add(1).data());
await attempt("attention", () => memoryEfficientAttention(query, key, value).data());
await attempt("backward", () => {
  out.backward(gradient);
  return query.grad!.data();
});
await attempt("read-back", () => query.data());
await attempt("sync", () => {
  query.add(1);
  return device.sync();
});

for (const storage of filling.splice(0)) storage.release();
device.emptyCache();
const again = memoryEfficientAttention(query, key, value);
await report("afterwards", again.slice(0, 0, 1).slice(2, 0, 1).data());
again.dispose();

// Last, for wgpu gives the device up where it finds no memory for the bytes on their way.
await attempt("upload to what is there", () => {
  runtime.upload(arrayOf(target).storage, new Uint8Array(onHost.buffer));
  return device.sync();
});
for (const storage of filling) storage.release();
device.dispose();
limitData(Infinity); // A new device compiles.
using other = await requestDevice({ tune: false });
await report("another device", other.tensor([4]).item());

/** Lets this process have so many bytes of data more than it has; `Infinity` takes the limit away. */
function limitData(more: number): void {
  const [, kibibytes] = /^VmData:\s+(\d+) kB$/m.exec(Deno.readTextFileSync("/proc/self/status"))!;
  const limit = more < Infinity ? `${Number(kibibytes) * 1024 + more}` : "unlimited";
  const { success } = new Deno.Command("prlimit", {
    args: ["--pid", `${Deno.pid}`, `--data=${limit}:`], // The colon leaves the hard limit as it is.
  }).outputSync();
  if (!success) throw new Error("prlimit failed");
}

/** Takes memory until there is none, and rejects then. It leaves some: the runtime needs it to go on at all. */
async function fill(): Promise<never> {
  for (;;) {
    const storage = runtime.memory.acquire(PIECE, "a filling");
    try {
      await device.sync();
      filling.push(storage);
    } catch (error) {
      storage.release();
      throw error;
    }
  }
}

/** Tries one thing, with what is left of memory when all that was freed before is taken again. */
async function attempt(name: string, fn: () => Promise<unknown>): Promise<void> {
  await fill().catch(() => {});
  try {
    await report(name, fn());
  } catch (error) {
    await report(name, Promise.reject(error));
  }
  await report(`${name}: kept`, kept.data().then((data) => [...data]));
}

async function report(name: string, outcome: Promise<unknown>): Promise<void> {
  try {
    const result = await outcome;
    const shown = result instanceof Float32Array ? [...result.subarray(0, 4)] : result;
    console.log(JSON.stringify({ name, result: shown ?? "nothing" }));
  } catch (error) {
    const { name: kind, message } = error as Error;
    console.log(JSON.stringify({ name, error: kind, message }));
  }
}
