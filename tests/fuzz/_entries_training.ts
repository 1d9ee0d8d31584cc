/** Optimisers, weights and their files, checks of gradients. */
import {
  AdamW,
  clipGradNorm,
  cosineSchedule,
  type Device,
  Linear,
  listSafetensors,
  loadSafetensors,
  loadTrainingState,
  readSafetensorsMetadata,
  saveSafetensors,
  SGD,
  type Tensor,
  trainingState,
} from "@denoformers/attention";
import { assertAllClose, gradCheck } from "@denoformers/attention/testing";
import { type Entry, entry, given, nothing, own } from "./_entry.ts";

const leaf = (d: Device) => ({ parameters: [d.ones([2], { requiresGrad: true })] });

export const TRAINING: readonly Entry[] = [
  entry(
    "SGD",
    {
      parameters: "tensors",
      learningRate: "positive",
      momentum: "positive",
      dampening: "finite",
      weightDecay: "positive",
      options: "options",
    },
    (d) => ({ ...leaf(d), learningRate: 1 }),
    (a) =>
      new SGD(
        a.parameters,
        given(a, {
          learningRate: a.learningRate,
          momentum: a.momentum,
          dampening: a.dampening,
          weightDecay: a.weightDecay,
        }),
      ),
  ),
  entry(
    "AdamW",
    {
      parameters: "tensors",
      learningRate: "positive",
      betas: "tensors",
      epsilon: "positive",
      weightDecay: "positive",
      options: "options",
    },
    leaf,
    (a) =>
      new AdamW(
        a.parameters,
        given(a, {
          learningRate: a.learningRate,
          betas: a.betas,
          epsilon: a.epsilon,
          weightDecay: a.weightDecay,
        }),
      ),
  ),
  entry(
    "Optimizer.learningRate",
    { rate: "positive" },
    leaf,
    (a) => new SGD(a.parameters, { learningRate: 1 }).learningRate = a.rate,
  ),
  entry(
    "Optimizer.loadStateDict",
    { state: "record", tensors: "record", numbers: "record" },
    leaf,
    (a) =>
      new AdamW(a.parameters).loadStateDict(
        "state" in a ? a.state : { tensors: {}, numbers: { learningRate: 1 }, ...a } as never,
      ),
  ),
  entry(
    "clipGradNorm",
    { parameters: "tensors", maxNorm: "positive", normType: "choice", options: "options" },
    (d) => ({ ...leaf(d), maxNorm: 1 }),
    (a) => clipGradNorm(a.parameters, a.maxNorm, given(a, { normType: a.normType })),
  ),
  entry(
    "cosineSchedule",
    {
      step: "positive",
      warmupSteps: "positive",
      totalSteps: "positive",
      peak: "finite",
      floor: "finite",
      options: "options",
    },
    () => ({ step: 1, totalSteps: 3, peak: 1 }),
    (a) =>
      cosineSchedule(
        a.step,
        given(a, {
          totalSteps: a.totalSteps,
          peak: a.peak,
          warmupSteps: a.warmupSteps,
          floor: a.floor,
        }),
      ),
  ),
  entry(
    "trainingState",
    { model: "record", optimizer: "record" },
    (d) => ({ model: own(new Linear(d, 2, 2)), ...leaf(d) }),
    (a, d) =>
      trainingState(
        "model" in a ? a.model : own(new Linear(d, 2, 2)),
        "optimizer" in a ? a.optimizer : new AdamW(a.parameters),
      ),
  ),
  entry(
    "loadTrainingState",
    { state: "record", tensors: "record", metadata: "record", model: "record" },
    (d) => ({ ...leaf(d), tensors: {}, metadata: {} }),
    (a, d) =>
      loadTrainingState(
        "state" in a ? a.state : { tensors: a.tensors, metadata: a.metadata },
        "model" in a ? a.model : own(new Linear(d, 2, 2)),
        new AdamW(a.parameters),
      ),
  ),
  entry(
    "loadSafetensors",
    { device: "device", file: "bytes", filter: "fn", options: "options" },
    (d) => ({ device: d }),
    (a) => loadSafetensors(a.device, a.file ?? new Uint8Array(8), given(a, { filter: a.filter })),
  ),
  entry("listSafetensors", { file: "bytes" }, nothing, (a) => listSafetensors(a.file)),
  entry(
    "readSafetensorsMetadata",
    { file: "bytes" },
    nothing,
    (a) => readSafetensorsMetadata(a.file),
  ),
  entry(
    "saveSafetensors",
    { tensors: "record", tensor: "input", options: "options", metadata: "record" },
    (d) => ({ tensor: d.ones([2]) }),
    (a) =>
      saveSafetensors(
        "tensors" in a ? a.tensors : { x: a.tensor },
        given(a, { metadata: a.metadata }),
      ),
  ),
  entry(
    "gradCheck",
    { fn: "fn", inputs: "tensors", options: "options" },
    (d) => ({ fn: (x: Tensor) => x.mul(2), inputs: [d.ones([2])] }),
    (a) => gradCheck(a.fn, a.inputs, given(a, {})),
  ),
  entry(
    "assertAllClose",
    { actual: "instance", options: "options", atol: "positive" },
    () => ({ actual: [1] }),
    (a) =>
      assertAllClose(a.actual, [1], given(a, { atol: a.atol, rtol: "atol" in a ? 0 : undefined })),
  ),
];
