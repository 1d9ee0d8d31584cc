import { DeviceLostError, GpuOutOfMemoryError, GpuValidationError } from "@denoformers/attention";
import { FaultLog } from "../../../gpu/runtime/faults.ts";
import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";

type Filter = "validation" | "out-of-memory" | "internal";

/** Stands for a GPUDevice: error scopes with errors on demand. */
class FakeGpu {
  readonly scopes: { filter: Filter; error: { message: string } | null }[] = [];
  lose: (info: { reason: string; message: string }) => void = () => {};
  readonly lost = new Promise<unknown>((resolve) => this.lose = resolve);

  pushErrorScope(filter: Filter): void {
    this.scopes.push({ filter, error: null });
  }

  popErrorScope(): Promise<unknown> {
    return Promise.resolve(this.scopes.pop()!.error);
  }

  /** What a failing command does: the innermost scope of the kind catches it. */
  raise(filter: Filter, message: string): void {
    const scope = this.scopes.findLast((scope) => scope.filter === filter)!;
    scope.error ??= { message };
  }
}

function faultLog(onOutOfMemory = () => {}): { gpu: FakeGpu; faults: FaultLog } {
  const gpu = new FakeGpu();
  const device = gpu as unknown as GPUDevice;
  return { gpu, faults: new FaultLog(device, () => "16 bytes in use", onOutOfMemory) };
}

describe("FaultLog", () => {
  it("has nothing to say if nothing fails, and keeps one scope of each kind open", async () => {
    const { gpu, faults } = faultLog();
    for (let i = 0; i < 3; i++) {
      await faults.settle();
      assertEquals(gpu.scopes.map(({ filter }) => filter), [
        "validation",
        "out-of-memory",
        "internal",
      ]);
    }
  });

  it("tells errors of each kind apart, with the state of memory and a remedy", async () => {
    const cases = [
      [
        "out-of-memory",
        GpuOutOfMemoryError,
        "GPU is out of memory: no room. 16 bytes in use. Use smaller tensors",
      ],
      ["validation", GpuValidationError, "GPU refused a command: no room. 16 bytes in use"],
      ["internal", GpuValidationError, "GPU refused a command: no room. 16 bytes in use"],
    ] as const;
    for (const [filter, ErrorClass, text] of cases) {
      const { gpu, faults } = faultLog();
      gpu.raise(filter, "no room");
      await assertRejects(() => faults.settle(), ErrorClass, text);
      await faults.settle();
    }
  });

  it("takes being out of memory for the cause of what was refused", async () => {
    const { gpu, faults } = faultLog();
    gpu.raise("validation", "buffer is invalid");
    gpu.raise("out-of-memory", "no room");
    await assertRejects(() => faults.settle(), GpuOutOfMemoryError, "no room");
  });

  it("tells when an allocation failed, and only then", async () => {
    let told = 0;
    const { gpu, faults } = faultLog(() => told++);
    gpu.raise("validation", "bad");
    await assertRejects(() => faults.settle(), GpuValidationError);
    assertEquals(told, 0);
    gpu.raise("out-of-memory", "no room");
    await assertRejects(() => faults.settle(), GpuOutOfMemoryError);
    assertEquals(told, 1);
  });

  it("takes an error of a tracked check for the cause of all", async () => {
    const { gpu, faults } = faultLog();
    gpu.raise("out-of-memory", "no room");
    faults.track(Promise.resolve(undefined));
    faults.track(Promise.resolve(new Error("does not compile")));
    await assertRejects(() => faults.settle(), Error, "does not compile");
  });

  it("condemns the writes since the last look, and no others", async () => {
    const { gpu, faults } = faultLog();
    const write = () => {
      const target = { since: 0, written: 0 };
      faults.noteWrite(target);
      return target;
    };
    const early = write();
    await faults.settle();
    const first = write();
    gpu.raise("validation", "bad");
    const second = write();
    const settling = faults.settle();
    const late = write();
    await assertRejects(() => settling, GpuValidationError);
    await faults.settle();
    for (const target of [first, second]) {
      assertThrows(() => faults.assertSound(target), GpuValidationError, "bad");
    }
    for (const target of [{ since: 0, written: 0 }, early, late]) faults.assertSound(target);
  });

  it("keeps the errors of the last hundred failures, and of all others what they undid", async () => {
    const { gpu, faults } = faultLog();
    const targets = [];
    for (let i = 0; i < 150; i++) {
      const target = { since: 0, written: 0 };
      faults.noteWrite(target);
      targets.push(target);
      gpu.raise("validation", `bad ${i}`);
      await assertRejects(() => faults.settle(), GpuValidationError, `bad ${i}`);
    }
    for (const [i, target] of targets.entries()) {
      const text = i < 50 ? "more than 100 errors ago" : `bad ${i}`;
      assertThrows(() => faults.assertSound(target), GpuValidationError, text);
    }
  });

  it("condemns what was computed from a bad write before the verdict on it", async () => {
    const { gpu, faults } = faultLog();
    const [good, bad, followed, unrelated] = [1, 2, 3, 4].map(() => ({ since: 0, written: 0 }));
    faults.noteWrite(good!);
    await faults.settle();
    gpu.raise("validation", "bad");
    faults.noteWrite(bad!);
    const settling = faults.settle();
    faults.noteWrite(followed!, [good!, bad!]);
    faults.noteWrite(unrelated!, [good!]);
    await assertRejects(() => settling, GpuValidationError);
    await faults.settle();
    assertThrows(() => faults.assertSound(followed!), GpuValidationError, "bad");
    faults.assertSound(unrelated!);
    faults.assertSound(good!);
  });

  it("tells each error once where several wait", async () => {
    const { gpu, faults } = faultLog();
    gpu.raise("validation", "bad");
    const results = await Promise.allSettled([faults.settle(), faults.settle(), faults.settle()]);
    assertEquals(results.filter(({ status }) => status === "rejected").length, 1);
  });

  it("says why the device was lost", async () => {
    const { gpu, faults } = faultLog();
    faults.assertAlive();
    gpu.lose({ reason: "unknown", message: "driver reset" });
    await gpu.lost;
    assertThrows(
      () => faults.assertAlive(),
      DeviceLostError,
      "GPU device was lost (unknown): driver reset; request a new device",
    );
    await assertRejects(() => faults.settle(), DeviceLostError, "driver reset");
  });

  it("ends waits at the loss, those to come too, and holds on to none that is over", async () => {
    const { gpu, faults } = faultLog();
    assertEquals(await faults.whileAlive(Promise.resolve(3)), 3);
    await assertRejects(() => faults.whileAlive(Promise.reject(new Error("mine"))), Error, "mine");
    const waits = [
      faults.whileAlive(new Promise(() => {})),
      faults.whileAlive(new Promise(() => {})),
    ];
    gpu.lose({ reason: "unknown", message: "driver died" });
    for (const wait of waits) await assertRejects(() => wait, DeviceLostError, "driver died");
    await assertRejects(() => faults.whileAlive(new Promise(() => {})), DeviceLostError);
  });

  it("ends its own waits for verdicts when the device is closed", async () => {
    const { gpu, faults } = faultLog();
    gpu.popErrorScope = () => new Promise(() => {});
    const settling = faults.settle();
    faults.close("closed by us");
    await assertRejects(() => settling, DeviceLostError, "closed by us");
  });

  it("explains a failed mapping by the loss that it is a sign of, or by what the runtime says", async () => {
    const { gpu, faults } = faultLog();
    const explaining = faults.mappingError(new Error("no mapping"));
    gpu.lose({ reason: "destroyed", message: "gone" });
    assertInstanceOf(await explaining, DeviceLostError);
    const error = await faultLog().faults.mappingError(new Error("no mapping"));
    assertInstanceOf(error, GpuValidationError);
    assertStringIncludes(
      error.message,
      "GPU refused to give a buffer back to the host: Error: no mapping. 16 bytes in use",
    );
  });

  it("turns scopes that cannot be popped into DeviceLostError", async () => {
    const { gpu, faults } = faultLog();
    gpu.popErrorScope = () => Promise.reject(new Error("no device"));
    await assertRejects(() => faults.settle(), DeviceLostError, "no device");
  });
});
