// deno-lint-ignore-file no-console -- a program whose output is read
/**
 * Attention on three threads at once; then workers that are terminated at every moment of their work; then one that
 * starts when the main thread's device is gone. Prints a line of JSON for each.
 */
import { memoryEfficientAttention, requestDevice } from "@denoformers/attention";

interface Answer {
  readonly values?: Float32Array;
  readonly error?: string;
}

/** Milliseconds after which to terminate a worker: while it loads, asks for its device, compiles, computes, reads. */
const MOMENTS = [0, 30, 60, 100, 150, 200, 300, 400];

function start(what: string): Worker {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  worker.postMessage({ what });
  return worker;
}

function answerOf(worker: Worker): Promise<Answer> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
}

const same = (a: Float32Array, b: Float32Array | undefined) =>
  b !== undefined && a.length === b.length && a.every((value, i) => value === b[i]);

const device = await requestDevice({ tune: false });
const x = device.randn([1, 32, 2, 16], { seed: 1 });
const attend = async () => {
  using out = memoryEfficientAttention(x, x, x);
  return await out.data();
};
const expected = await attend();

const workers = [start("attention"), start("attention")];
const answers = Promise.all(workers.map(answerOf));
const here = await attend();
const outcomes = [here, ...(await answers).map(({ values }) => values)];
for (const worker of workers) worker.terminate();
console.log(
  JSON.stringify({ name: "at once", same: outcomes.map((values) => same(expected, values)) }),
);

for (const moment of MOMENTS) {
  const worker = start("for ever");
  await new Promise((resolve) => setTimeout(resolve, moment));
  worker.terminate();
}
const busy = start("for ever");
await answerOf(busy);
busy.terminate();
console.log(JSON.stringify({ name: "terminated", same: same(expected, await attend()) }));

for (const posted of [x, device, { inputs: [x] }]) {
  try {
    structuredClone(posted);
    console.log(JSON.stringify({ name: "posted", result: "cloned" }));
  } catch (error) {
    console.log(JSON.stringify({ name: "posted", error: `${error}` }));
  }
}

device.dispose();
const late = start("attention");
const { values, error } = await answerOf(late);
late.terminate();
console.log(JSON.stringify({ name: "late", same: same(expected, values), error }));
// The thread ends first: one that the driver still works for as the process exits ends that badly, once in 49 runs
// on SwiftShader on a busy machine.
await new Promise((resolve) => setTimeout(resolve, 300));
