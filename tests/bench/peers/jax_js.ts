/** jax-js: `nn.dotProductAttention` and its gradient, both through `jit`. */
import type { Case } from "../cases.ts";
import { type Contender, type HostInputs, type Prepared, readerOf, RESULTS } from "../contender.ts";
import { importPackage, PEER_PACKAGES } from "./packages.ts";

/** What of an array is used. A function that is called with one takes a reference of it. */
interface JaxArray {
  readonly ref: JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  mul(other: JaxArray): JaxArray;
  sum(): JaxArray;
  data(): Promise<Float32Array>;
  dispose(): void;
}

type JaxFunction<Result> = ((...args: JaxArray[]) => Result) & { dispose?(): void };

/** What of the package is used. */
interface Jax {
  init(device: "webgpu"): Promise<readonly string[]>;
  defaultDevice(device: "webgpu"): void;
  jit<Result>(fn: (...args: JaxArray[]) => Result): JaxFunction<Result>;
  grad(
    fn: (...args: JaxArray[]) => JaxArray,
    options: { argnums: number[] },
  ): (...args: JaxArray[]) => JaxArray[];
  readonly nn: {
    dotProductAttention(
      query: JaxArray,
      key: JaxArray,
      value: JaxArray,
      options: { isCausal: boolean },
    ): JaxArray;
  };
  readonly numpy: { array(data: Float32Array): JaxArray };
}

/** Loads the package and its device. */
export async function loadJaxJs(): Promise<Contender> {
  const jax = await importPackage<Jax>(PEER_PACKAGES["jax-js"][0]);
  const devices = await jax.init("webgpu");
  if (!devices.includes("webgpu")) throw new Error("jax-js found no WebGPU device");
  jax.defaultDevice("webgpu");
  return {
    name: "jax-js",
    prepare: (what, inputs) => Promise.resolve(prepare(jax, what, inputs)),
  };
}

function prepare(jax: Jax, what: Case, inputs: HostInputs): Prepared {
  const { B, Mq, H, K, variant, pass } = what;
  const isTraining = pass === "training";
  const attention = (query: JaxArray, key: JaxArray, value: JaxArray) =>
    jax.nn.dotProductAttention(query, key, value, { isCausal: variant === "causal" });
  const loss = (query: JaxArray, key: JaxArray, value: JaxArray, gradient: JaxArray) =>
    attention(query, key, value).mul(gradient).sum();
  const compiled: JaxFunction<JaxArray[]> = isTraining
    ? jax.jit(jax.grad(loss as JaxFunction<JaxArray>, { argnums: [0, 1, 2] }))
    : jax.jit((...args) => [attention(...args as [JaxArray, JaxArray, JaxArray])]);
  const { query, key, value, gradient } = inputs;
  const args = [query, key, value, ...(isTraining ? [gradient] : [])]
    .map((data) => jax.numpy.array(data).reshape([B, Mq, H, K]));
  const run = () => Promise.all(compiled(...args.map(({ ref }) => ref)).map((x) => x.data()));
  return {
    run,
    async results() {
      const data = await run();
      const named = RESULTS[pass].map((name, n) => [name, data[n]!]);
      return readerOf(what, "BMHK", Object.fromEntries(named));
    },
    dispose() {
      for (const array of args) array.dispose();
      compiled.dispose?.();
    },
  };
}
