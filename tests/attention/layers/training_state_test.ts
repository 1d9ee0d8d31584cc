/** A training that is saved to a file, and goes on. */
import {
  AdamW,
  Linear,
  loadSafetensors,
  loadTrainingState,
  mseLoss,
  readSafetensorsMetadata,
  saveSafetensors,
  tidy,
  trainingState,
} from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

function start(seed: number) {
  const model = new Linear(device, 4, 2, { seed });
  const optimizer = new AdamW(model.parameters(), { learningRate: 0.05 });
  const train = (steps: number) => {
    for (let i = 0; i < steps; i++) {
      tidy(() => mseLoss(model.forward(device.ones([3, 4])), device.zeros([3, 2])).backward());
      optimizer.step();
      optimizer.zeroGrad();
    }
  };
  return { model, optimizer, train };
}

describe("trainingState", () => {
  it("goes through a file, after which training goes on bit by bit", async () => {
    const first = start(1);
    first.train(3);
    first.optimizer.learningRate = 0.1;
    const { tensors, metadata } = trainingState(first.model, first.optimizer);
    assertEquals(Object.keys(tensors), [
      "model.weight",
      "model.bias",
      "optimizer.0.mean",
      "optimizer.0.square",
      "optimizer.1.mean",
      "optimizer.1.square",
    ]);
    assertEquals(metadata, {
      "optimizer.learningRate": "0.1",
      "optimizer.0.step": "3",
      "optimizer.1.step": "3",
    });
    const file = await saveSafetensors(tensors, { metadata });
    const second = start(2);
    tidy(() => {
      const loaded = {
        tensors: loadSafetensors(device, file),
        metadata: readSafetensorsMetadata(file),
      };
      loadTrainingState(loaded, second.model, second.optimizer);
    });
    for (const training of [first, second]) training.train(2);
    assertEquals(await second.model.weight.data(), await first.model.weight.data());
    assertEquals(await second.model.bias!.data(), await first.model.bias!.data());
  });

  it("loads nothing if a part does not fit", async () => {
    const { model, optimizer, train } = start(1);
    train(1);
    const before = await model.weight.data();
    const other = start(2);
    other.train(1);
    const { tensors, metadata } = trainingState(other.model, other.optimizer);
    const { "model.bias": _, ...without } = tensors;
    assertThrows(
      () => loadTrainingState({ tensors: without, metadata }, model, optimizer),
      RangeError,
      "missing bias [2]",
    );
    assertThrows(
      () => loadTrainingState({ tensors, metadata: {} }, model, optimizer),
      RangeError,
      "missing learningRate",
    );
    assertEquals(await model.weight.data(), before);
    assertEquals(optimizer.learningRate, 0.05);
  });
});
