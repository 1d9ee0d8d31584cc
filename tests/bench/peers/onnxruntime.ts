/** onnxruntime-web: its `MultiHeadAttention` on WebGPU, with inputs that stay on the device. Forward alone. */
import type { Case } from "../cases.ts";
import {
  type Contender,
  type HostInputs,
  type Prepared,
  readerOf,
  UnsupportedError,
} from "../contender.ts";
import { importPackage, PEER_PACKAGES } from "./packages.ts";

/** What of a tensor is used. */
interface OrtTensor {
  readonly data: Float32Array;
  dispose(): void;
}

/** What of a session is used. */
interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<{ readonly out: OrtTensor }>;
  release(): Promise<void>;
}

/** What of the package is used. */
interface Ort {
  readonly env: {
    logLevel: string;
    readonly webgpu: { readonly device: GPUDevice | Promise<GPUDevice> };
  };
  readonly InferenceSession: {
    create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession>;
  };
  readonly Tensor: {
    fromGpuBuffer(
      buffer: GPUBuffer,
      options: { dataType: "float32"; dims: readonly number[] },
    ): OrtTensor;
  };
}

/** What of the package is used that writes models. */
interface OnnxProto {
  readonly default: {
    readonly onnx: {
      readonly ModelProto: {
        fromObject(model: unknown): unknown;
        encode(model: unknown): { finish(): Uint8Array };
      };
    };
  };
}

/** Numbers of the ONNX format. */
const ONNX = { float: 1, integerAttribute: 2, irVersion: 8, opset: 17 };

/** Storage, copies both ways. */
const USAGE = 128 | 4 | 8;

const INPUTS = ["query", "key", "value"] as const;

/** Loads the packages; the first session makes the device. */
export async function loadOnnxruntime(): Promise<Contender> {
  const [runtime, proto] = PEER_PACKAGES["onnxruntime-web"];
  const ort = await importPackage<Ort>(runtime);
  const { default: { onnx: { ModelProto } } } = await importPackage<OnnxProto>(proto);
  ort.env.logLevel = "error";
  return {
    name: "onnxruntime-web",
    prepare(what, inputs) {
      if (what.pass !== "forward") throw new UnsupportedError("no gradients");
      return prepare(ort, ModelProto.encode(ModelProto.fromObject(modelOf(what))).finish(), {
        what,
        inputs,
      });
    },
  };
}

/** A graph of one node; its inputs and output are `[B, M, H K]`. */
function modelOf({ B, Mq, H, K, variant }: Case): unknown {
  const dim = [B, Mq, H * K].map((dimValue) => ({ dimValue }));
  const value = (name: string) => ({
    name,
    type: { tensorType: { elemType: ONNX.float, shape: { dim } } },
  });
  const attribute = (name: string, i: number) => ({ name, type: ONNX.integerAttribute, i });
  return {
    irVersion: ONNX.irVersion,
    opsetImport: [
      { domain: "", version: ONNX.opset },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name: "attention",
      input: INPUTS.map(value),
      output: [value("out")],
      node: [{
        opType: "MultiHeadAttention",
        domain: "com.microsoft",
        input: INPUTS,
        output: ["out"],
        attribute: [
          attribute("num_heads", H),
          attribute("unidirectional", Number(variant === "causal")),
        ],
      }],
    },
  };
}

async function prepare(
  ort: Ort,
  model: Uint8Array,
  { what, inputs }: { readonly what: Case; readonly inputs: HostInputs },
): Promise<Prepared> {
  const { B, Mq, H, K } = what;
  const session = await ort.InferenceSession.create(model, { executionProviders: ["webgpu"] });
  const device = await ort.env.webgpu.device;
  const buffers = INPUTS.map((name) => {
    const data = inputs[name];
    const buffer = device.createBuffer({ size: data.byteLength, usage: USAGE });
    device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  });
  const feeds = Object.fromEntries(INPUTS.map((name, n) => [
    name,
    ort.Tensor.fromGpuBuffer(buffers[n]!, { dataType: "float32", dims: [B, Mq, H * K] }),
  ]));
  const run = async () => (await session.run(feeds)).out.data;
  return {
    run,
    results: async () => readerOf(what, "BMHK", { out: await run() }),
    async dispose() {
      await session.release();
      for (const buffer of buffers) buffer.destroy();
    },
  };
}
