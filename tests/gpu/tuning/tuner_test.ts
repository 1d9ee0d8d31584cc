import { type Device, requestDevice, tidy, type TuningChoice } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import { assert, assertEquals, assertGreater, assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { waitFor } from "../../../gpu/tuning/stopwatch.ts";
import { runBroken, spin, spinProblem, type Work } from "./_problems.ts";

const device = await requestDevice({ tune: { cache: false } });
/** Whether this runtime can measure within a call; where it cannot, defaults are all there is. */
const canMeasure = runtimeOf(device).readback.canReadSync;

function choose(on: Device, name: string, works: Readonly<Record<string, Work>>): Work {
  return runtimeOf(on).tuner.choose(spinProblem(on, name, works));
}

function choiceOf(on: Device, problem: string): TuningChoice {
  const choice = on.tuning().find((choice) => choice.problem === problem);
  assert(choice, `no choice for ${problem}`);
  return choice;
}

/** Keeps the host busy, as compiling does. */
function dawdle(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/** How long one dispatch takes at present, in milliseconds. */
function timeOfRun(turns: number): number {
  const runtime = runtimeOf(device);
  const storage = runtime.memory.acquire(4 * 64, "a test");
  waitFor(runtime);
  const start = performance.now();
  spin(device, storage, turns);
  waitFor(runtime);
  storage.release();
  return performance.now() - start;
}

// Twenty times the work: no noise of a busy machine turns that round.
const SLOW = 40_000;
const FAST = 2_000;

describe("Tuner.choose()", () => {
  it("takes the fastest candidate, whatever their order, and says why", () => {
    assert(canMeasure, "Deno 2.9 can measure within a call");
    assertEquals(choose(device, "slow first", { slow: SLOW, fast: FAST }), FAST);
    assertEquals(choose(device, "fast first", { fast: FAST, slow: SLOW }), FAST);
    const { choice, source, reason, candidates } = choiceOf(device, "slow first");
    assertEquals([choice, source], ["fast", "measured"]);
    assertMatch(reason, /^fastest of 2, \d+\.\d\d times as fast as the default$/);
    const [slow, fast] = candidates;
    assertEquals([slow!.name, slow!.note, fast!.name], ["slow", "given up in round 2", "fast"]);
    assertGreater(slow!.milliseconds!, 2 * fast!.milliseconds!);
    assertEquals(choiceOf(device, "fast first").reason, "fastest of 2");
  });

  it("measures once for a class of problems, and gives that choice for good", () => {
    const problem = spinProblem(device, "once", { slow: SLOW, fast: FAST });
    const { tuner } = runtimeOf(device);
    const chosen = Array.from({ length: 5 }, () => tuner.choose(problem));
    // Another problem of that class, though its candidates now take other times.
    chosen.push(choose(device, "once", { slow: 1, fast: FAST }));
    assertEquals(new Set(chosen), new Set([FAST]));
    assertEquals([problem.calls.prepared, problem.calls.disposed], [1, 1]);
    assertEquals(device.tuning().filter(({ problem }) => problem === "once").length, 1);
  });

  it("does not measure what is no choice", () => {
    const problem = spinProblem(device, "alone", { only: FAST });
    assertEquals(runtimeOf(device).tuner.choose(problem), FAST);
    assertEquals(problem.calls.prepared, 0);
    const { source, reason } = choiceOf(device, "alone");
    assertEquals([source, reason], ["default", "there is no other candidate"]);
  });

  it("tries no further candidate once the budget is spent, and says so", async () => {
    using short = await requestDevice({ tune: { cache: false, budget: 20 } });
    const works = { usual: () => dawdle(30), other: FAST, third: FAST + 1 };
    const problem = spinProblem(short, "late", works);
    assertEquals(runtimeOf(short).tuner.choose(problem), works.usual);
    assertEquals(problem.calls.runs, new Map([["usual", 1]]));
    const { source, reason, candidates } = choiceOf(short, "late");
    assertEquals([source, reason], ["default", "there was no time to try another"]);
    const note = "not tried: the time for this choice was up";
    assertEquals(candidates.map(({ note }) => note), [undefined, note, note]);
  });

  it("gives nested calls their default, which they do not keep", () => {
    const { tuner } = runtimeOf(device);
    const inner = spinProblem(device, "inner", { slow: SLOW, fast: FAST });
    const nested = new Set<Work>();
    const outer = {
      "a": () => nested.add(tuner.choose(inner)),
      "b": () => nested.add(tuner.choose(inner)),
    };
    choose(device, "outer", outer);
    assertEquals([nested, inner.calls.prepared], [new Set<Work>([SLOW]), 0]);
    assertEquals(tuner.choose(inner), FAST);
  });

  it("gives defaults with tune: false, and where the device is gone", async () => {
    using plain = await requestDevice({ tune: false });
    const problem = spinProblem(plain, "plain", { slow: SLOW, fast: FAST });
    assertEquals(runtimeOf(plain).tuner.choose(problem), SLOW);
    assertEquals(problem.calls.prepared, 0);
    assertEquals(plain.tuning(), [{
      problem: "plain",
      choice: "slow",
      source: "default",
      reason: "tuning is off",
      candidates: ["slow", "fast"].map((name) => ({ name, milliseconds: undefined })),
    }]);

    const gone = await requestDevice({ tune: { cache: false } });
    gone.dispose();
    assertEquals(choose(gone, "gone", { slow: SLOW, fast: FAST }), SLOW);
    assertMatch(choiceOf(gone, "gone").reason, /disposed/);
  });

  it("gives defaults where a call cannot wait for the GPU", async () => {
    using other = await requestDevice({ tune: { cache: false } });
    runtimeOf(other).readback.distrust();
    assertEquals(choose(other, "elsewhere", { slow: SLOW, fast: FAST }), SLOW);
    const { source, reason } = choiceOf(other, "elsewhere");
    assertEquals([source, reason], [
      "default",
      "this runtime cannot wait for the GPU within a call",
    ]);
  });
});

describe("a candidate that fails", () => {
  const broken = {
    "does not compile": (storage) => runBroken(device, storage),
    "throws": () => {
      throw new RangeError("Cannot run: too large");
    },
    "enqueues nothing": () => {},
    "is refused": (storage) => {
      spin(device, storage, FAST);
      const encoder = runtimeOf(device).gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(storage.buffer, 0, storage.buffer, 0, 1 << 20);
      runtimeOf(device).gpu.queue.submit([encoder.finish()]);
    },
  } satisfies Record<string, Work>;

  for (const [what, work] of Object.entries(broken)) {
    it(`loses and does no harm if it ${what}`, async () => {
      using pending = device.full([4], 3);
      assertEquals(
        choose(device, `first ${what}`, { broken: work, right: FAST, slow: SLOW }),
        FAST,
      );
      assertEquals(choose(device, `last ${what}`, { right: FAST, broken: work }), FAST);
      const failed = choiceOf(device, `last ${what}`).candidates[1]!;
      assertEquals(failed.milliseconds, undefined);
      assertMatch(failed.note!, /^failed: /);
      using after = pending.add(1);
      await device.sync();
      assertEquals(await after.data(), new Float32Array([4, 4, 4, 4]));
    });
  }

  it("leaves the default if all fail, which then tells its error as it would have", async () => {
    using own = await requestDevice({ tune: { cache: false } });
    const works = { a: (s) => runBroken(own, s), b: (s) => runBroken(own, s) } satisfies Record<
      string,
      Work
    >;
    assertEquals(choose(own, "hopeless", works), works.a);
    const { source, reason } = choiceOf(own, "hopeless");
    assertEquals([source, reason], ["default", "no candidate ran"]);
    await own.sync();
    const storage = runtimeOf(own).memory.acquire(256, "a test");
    works.a(storage);
    await assertRejects(() => own.sync(), Error, 'Cannot compile kernel "broken_candidate"');
  });

  it("may be the problem itself", () => {
    const problem = spinProblem(device, "unprepared", { slow: SLOW, fast: FAST });
    const prepare = () => {
      throw new RangeError("Cannot allocate a tensor: it is too large");
    };
    assertEquals(runtimeOf(device).tuner.choose({ ...problem, prepare }), SLOW);
    assertEquals(
      choiceOf(device, "unprepared").reason,
      "preparing a measurement failed: Cannot allocate a tensor: it is too large",
    );

    const refused = spinProblem(device, "refused", { slow: SLOW, fast: FAST });
    const before = device.memory();
    const chosen = runtimeOf(device).tuner.choose({
      ...refused,
      prepare() {
        const prepared = refused.prepare();
        const storage = runtimeOf(device).memory.acquire(256, "a test");
        runBroken(device, storage);
        storage.release();
        return prepared;
      },
    });
    assertEquals([chosen, refused.calls.disposed], [SLOW, 1]);
    assertMatch(choiceOf(device, "refused").reason, /^preparing a measurement failed: GPU/);
    assertEquals(device.memory().allocatedBytes, before.allocatedBytes);
  });
});

describe("a measurement", () => {
  it("shows neither in memory nor in a profile, graph or scope of tensors", async () => {
    using own = await requestDevice({ tune: { cache: false } });
    const { tuner, memory } = runtimeOf(own);
    using x = own.ones([64], { requiresGrad: true });
    const before = own.memory();
    const makers: Work[] = [];
    const work = (storage: Parameters<Exclude<Work, number>>[0]) => {
      spin(own, storage, FAST);
      const scratch = memory.acquire(2 ** 20, "scratch of a candidate");
      makers.push(x.mul(2).requiresGrad ? 1 : 0); // A tensor that nobody disposes.
      scratch.release();
    };
    const problem = spinProblem(own, "traces", { a: work, b: (storage) => work(storage) });
    const { result, kernels, milliseconds } = await own.profile(() => {
      const y = x.add(1);
      tidy(() => {
        tuner.choose(problem);
      });
      return y.mul(3);
    });
    assertEquals(choiceOf(own, "traces").source, "measured");
    assertEquals(new Set(makers), new Set([0]), "nothing was recorded");
    const after = own.memory();
    // The two results: x.add(1), which the graph of the second keeps, and the second.
    assertEquals(after.allocatedBytes, before.allocatedBytes + 512);
    assertEquals(after.tensors, before.tensors + 2);
    assertEquals(after.peakBytes, Math.max(before.peakBytes, after.allocatedBytes));
    if (own.info.timestamps) {
      assertEquals(kernels.map(({ kernel, calls }) => [kernel, calls]), [["add", 1], ["mul", 1]]);
      assert(milliseconds > 0);
    }
    assertEquals((await result.data())[63], 6);
    own.emptyCache();
    // Nothing idle, nothing of the measurement: what is left are the results, staging, parameters.
    assert(own.memory().reservedBytes < 2 ** 16, `${own.memory().reservedBytes} bytes reserved`);
  });

  it("works without timestamps", async () => {
    const requestAdapter = navigator.gpu.requestAdapter.bind(navigator.gpu);
    const gpu = {
      requestAdapter: async (options: GPURequestAdapterOptions) => {
        const adapter = await requestAdapter(options);
        assert(adapter);
        return {
          info: adapter.info,
          limits: adapter.limits,
          features: new Set<string>(),
          requestDevice: (descriptor: GPUDeviceDescriptor) => adapter.requestDevice(descriptor),
        };
      },
    };
    Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
    try {
      // The slow one takes a second on a busy CPU driver, after which the usual budget leaves no time for another.
      using own = await requestDevice({ tune: { cache: false, budget: 60_000 } });
      assertEquals(own.info.timestamps, false);
      const works = {
        broken: (s) => runBroken(own, s),
        slow: 50 * SLOW,
        fast: FAST,
      } satisfies Record<
        string,
        Work
      >;
      assertEquals(choose(own, "by the wall", works), FAST);
      assertEquals(choiceOf(own, "by the wall").source, "measured");
    } finally {
      Reflect.deleteProperty(navigator, "gpu");
    }
  });

  it("takes as long as it should, and few runs of what is slow", () => {
    const problem = spinProblem(device, "brief", { slow: 20 * SLOW, fast: FAST });
    const start = performance.now();
    runtimeOf(device).tuner.choose(problem);
    const took = performance.now() - start;
    // 4 runs of some 20 ms, and 10 ms of others on a CPU; the rest is room for a busy machine. One that is busier
    // takes longer for the runs alone.
    assert(took < Math.max(2000, 10 * timeOfRun(20 * SLOW)), `took ${took} ms`);
    assertEquals(problem.calls.runs.get("slow"), 3, "one to compile, two to be judged by");
  });
});
