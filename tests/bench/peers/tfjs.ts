/** TensorFlow.js: `matMul`, `softmax`, `matMul`, and `grads` of them. */
import type { Case } from "../cases.ts";
import {
  type Contender,
  headsFirst,
  type HostInputs,
  type Prepared,
  readerOf,
  RESULTS,
} from "../contender.ts";
import { importPackage, PEER_PACKAGES } from "./packages.ts";

/** What of a tensor is used. */
interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** What of the package is used. */
interface Tf {
  setBackend(name: string): Promise<boolean>;
  findBackendFactory(name: string): () => unknown;
  registerBackend(name: string, factory: () => unknown, priority: number): boolean;
  removeBackend(name: string): void;
  tidy<T>(fn: () => T): T;
  tensor(data: Float32Array, shape: readonly number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  mul(a: TfTensor, b: number): TfTensor;
  add(a: TfTensor, b: TfTensor): TfTensor;
  softmax(a: TfTensor): TfTensor;
  grads(
    fn: (...args: TfTensor[]) => TfTensor,
  ): (args: TfTensor[], gradient: TfTensor) => TfTensor[];
}

const BACKEND = "webgpu";

/** Loads the packages; every case gets a backend, and so a device, of its own. */
export async function loadTfjs(): Promise<Contender> {
  const [core, backend] = PEER_PACKAGES.tfjs;
  const tf = await importPackage<Tf>(core);
  await importPackage(backend);
  const factory = tf.findBackendFactory(BACKEND);
  const remove = () => {
    tf.removeBackend(BACKEND); // With it goes the pool of buffers that earlier cases left.
    tf.registerBackend(BACKEND, factory, 3);
  };
  return {
    name: "tfjs",
    async prepare(what, inputs) {
      if (!await tf.setBackend(BACKEND)) throw new Error("tfjs found no WebGPU device");
      const prepared = prepare(tf, what, inputs);
      return {
        ...prepared,
        dispose: () => {
          prepared.dispose();
          remove();
        },
      };
    },
  };
}

function prepare(tf: Tf, what: Case, inputs: HostInputs): Prepared {
  const { B, Mq, H, K, variant, pass } = what;
  // Products are over the last two axes, so heads come first; that is not counted.
  const [query, key, value] = [inputs.query, inputs.key, inputs.value]
    .map((data) => tf.tensor(headsFirst(what, data), [B, H, Mq, K])) as [
      TfTensor,
      TfTensor,
      TfTensor,
    ];
  const gradient = pass === "training"
    ? tf.tensor(headsFirst(what, inputs.gradient), [B, H, Mq, K])
    : undefined;
  const mask = variant === "causal" ? tf.tensor(causalBias(Mq), [1, 1, Mq, Mq]) : undefined;
  const attention = (query: TfTensor, key: TfTensor, value: TfTensor) => {
    const scores = tf.mul(tf.matMul(query, key, false, true), K ** -0.5);
    return tf.matMul(tf.softmax(mask ? tf.add(scores, mask) : scores), value);
  };
  const gradients = tf.grads(attention as (...args: TfTensor[]) => TfTensor);
  const compute = () =>
    tf.tidy(() =>
      gradient ? gradients([query, key, value], gradient) : [attention(query, key, value)]
    );
  const run = async () => {
    const results = compute();
    const data = await Promise.all(results.map((tensor) => tensor.data()));
    for (const tensor of results) tensor.dispose();
    return data;
  };
  return {
    run,
    async results() {
      const data = await run();
      const named = RESULTS[pass].map((name, n) => [name, data[n]!]);
      return readerOf(what, "BHMK", Object.fromEntries(named));
    },
    dispose() {
      for (const tensor of [query, key, value, gradient, mask]) tensor?.dispose();
    },
  };
}

/** 0 for keys up to the query's own, and a large negative number behind. */
function causalBias(M: number): Float32Array {
  return Float32Array.from({ length: M * M }, (_, n) => n % M <= Math.floor(n / M) ? 0 : -1e9);
}
