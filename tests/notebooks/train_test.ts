import {
  assert,
  assertEquals,
  assertLess,
  assertLessOrEqual,
  assertStringIncludes,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readCheckpoint, restore, writeCheckpoint } from "../../notebooks/train/checkpoint.ts";
import { Training } from "../../notebooks/train/loop.ts";
import type { AttentionKind } from "../../notebooks/train/model.ts";
import type { RunOptions } from "../../notebooks/train/options.ts";
import { formatEpoch } from "../../notebooks/train/report.ts";
import { sharedDevice } from "../_device.ts";
import { inFolder } from "../_folder.ts";

/** 80 digits to learn from, 20 held out; five steps an epoch, ten in all. */
const OPTIONS: RunOptions = {
  epochs: 2,
  batch: 16,
  seed: 7,
  attention: "memory-efficient",
  limit: 100,
};

/** Trains to the end, or so many steps, and gives their losses. */
async function losses(training: Training, steps = Infinity): Promise<number[]> {
  const list: number[] = [];
  const isOver = await training.run({
    onStep: (loss) => void list.push(loss),
    shouldStop: () => list.length >= steps,
  });
  assertEquals(isOver, training.progress.epochs.length === training.options.epochs);
  return list;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value) / values.length;
}

/** All that came of a training, but for times. */
async function outcome({ model, progress }: Training) {
  const weights: Record<string, number[]> = {};
  for (const [name, tensor] of Object.entries(model.stateDict())) {
    const values = await tensor.data();
    weights[name] = [...values];
  }
  return { weights, epochs: progress.epochs.map((epoch) => ({ ...epoch, seconds: 0 })) };
}

describe("Training", () => {
  it("lowers the loss, in memory that does not grow", async () => {
    const device = await sharedDevice();
    using training = new Training(device, { ...OPTIONS, epochs: 4 });
    const list: number[] = [];
    const memory: unknown[] = [];
    await training.run({
      onStep: (loss) => {
        list.push(loss);
        const { allocatedBytes, buffers, tensors } = device.memory();
        memory.push({ allocatedBytes, buffers, tensors });
      },
    });
    assertEquals(training.steps, { total: 20, done: 20 });
    assertEquals(list.length, 20);
    const [first, last] = [mean(list.slice(0, 5)), mean(list.slice(-5))];
    // A model that learns nothing stays near log(10), where the first steps are.
    assertLess(last, 0.9 * first);
    // From the first step on, which makes the optimiser's state.
    for (const stats of memory) assertEquals(stats, memory[0]);
    const result = training.progress.epochs[3]!;
    // The two sums are of the same numbers in the same order.
    assertEquals(result.loss, last);
    assertEquals(result.heldOutAccuracy, await training.heldOutAccuracy());
  });

  it("goes on from a file as if there had been no interrupt, bit by bit", () =>
    inFolder(async (folder) => {
      const device = await sharedDevice();
      using whole = new Training(device, OPTIONS);
      const expected = await losses(whole);
      assertEquals(expected.length, 10);
      const path = `${folder}/digits.safetensors`;
      // Within an epoch; behind its last step, but before its evaluation; at the next one's first.
      for (const steps of [2, 5, 6]) {
        using first = new Training(device, OPTIONS);
        const before = await losses(first, steps);
        await writeCheckpoint(first, path);
        const checkpoint = await readCheckpoint(path);
        using second = new Training(device, checkpoint.options);
        restore(second, checkpoint);
        assertEquals(second.steps, { total: 10, done: steps });
        assertEquals([...before, ...await losses(second)], expected);
        assertEquals(await outcome(second), await outcome(whole));
      }
    }));

  it("gives other losses for another seed", async () => {
    const device = await sharedDevice();
    using one = new Training(device, OPTIONS);
    using other = new Training(device, { ...OPTIONS, seed: 8 });
    const [[a], [b]] = [await losses(one, 1), await losses(other, 1)];
    assert(a !== b, `both losses are ${a}`);
  });

  it("has the same curve with attention by the formula", async () => {
    const device = await sharedDevice();
    const curve = async (attention: AttentionKind) => {
      using training = new Training(device, { ...OPTIONS, attention });
      return await losses(training);
    };
    const [ours, theirs] = [await curve("memory-efficient"), await curve("math")];
    const differences = ours.map((loss, step) => Math.abs(loss - theirs[step]!));
    // Losses of 1 to 3 are rounded to 2e-7, by which the two differ at first; ten steps make that a few
    // times larger. One wrong gradient makes it a hundredth and more.
    assertLessOrEqual(Math.max(...differences), 1e-4);
  });
});

const PROGRAM = decodeURIComponent(new URL("../../notebooks/train.ts", import.meta.url).pathname);

/** Starts a program, to be read as text. */
function start(args: readonly string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", ...args],
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(child.stderr).text();
  return { child, stderr, stdout: child.stdout.pipeThrough(new TextDecoderStream()) };
}

/** Runs the training to its end. */
async function runTrain(args: readonly string[]) {
  const { child, stdout, stderr } = start([PROGRAM, ...args]);
  const text = (await Array.fromAsync(stdout)).join("");
  return { code: (await child.status).code, stdout: text, stderr: await stderr };
}

/** Runs a program and interrupts it, once for each text, as soon as it has printed that. */
async function runInterrupted(args: readonly string[], texts: readonly string[]) {
  const { child, stdout, stderr } = start(args);
  let text = "";
  let next = 0;
  for await (const chunk of stdout) {
    text += chunk;
    if (next < texts.length && text.includes(texts[next]!)) {
      child.kill("SIGINT");
      next++;
    }
  }
  return { code: (await child.status).code, stdout: text, stderr: await stderr };
}

/** The table's rows without the seconds. */
function rows(stdout: string): string[] {
  return stdout.split("\n").filter((line) => /^ +\d+ +\d\.\d{4} /.test(line))
    .map((line) => line.replace(/ +[\d.]+$/, ""));
}

const isWindows = Deno.build.os === "windows"; // It has no signal to send.

describe("train.ts", () => {
  it("loses nothing by an interrupt", { ignore: isWindows }, () =>
    inFolder(async (folder) => {
      const path = `${folder}/new/digits.safetensors`;
      const args = ["--epochs=2", "--batch=16", "--seed=7", "--limit=100", "--checkpoint", path];
      const first = await runInterrupted([PROGRAM, ...args], ["held out    seconds"]);
      assertEquals(first.code, 130, first.stderr);
      assertStringIncludes(first.stderr, `deno task train --resume ${path}`);
      const { steps } = await progressOf(path);
      assert(steps.done > 0 && steps.done < 10, `${steps.done} of 10 steps`);

      const refused = await runTrain(args);
      assertEquals([refused.code, refused.stdout], [1, ""]);
      assertStringIncludes(refused.stderr, `--resume ${path}`);
      assert(!refused.stderr.includes("    at "), refused.stderr);

      const second = await runTrain(["--resume", path]);
      assertEquals(second.code, 0, second.stderr);
      assertStringIncludes(second.stdout, "Held-out digits classed right: ");
      assertStringIncludes(second.stdout, `written to   ${path}`);
      assertStringIncludes(second.stderr, "epoch 2/2 [====================] 100 % | loss ");

      using whole = new Training(await sharedDevice(), OPTIONS);
      await whole.run();
      const expected = whole.progress.epochs.map((epoch, i) => formatEpoch(i + 1, epoch));
      assertEquals(rows(second.stdout), rows(expected.join("\n")));
    }));

  it("prints an error without a stack for a wrong flag and for a wrong file", async () => {
    const usage = await runTrain(["--epochs=none"]);
    assertEquals([usage.code, usage.stdout], [2, ""]);
    assertStringIncludes(usage.stderr, '--epochs is "none"');
    assertStringIncludes(usage.stderr, "Usage: deno task train");
    const file = await runTrain(["--resume", PROGRAM]);
    assertEquals([file.code, file.stdout], [1, ""]);
    assertStringIncludes(file.stderr, `Cannot resume from ${PROGRAM}`);
    assert(!file.stderr.includes("    at "), file.stderr);
  });
});

async function progressOf(path: string) {
  const checkpoint = await readCheckpoint(path);
  using training = new Training(await sharedDevice(), checkpoint.options);
  restore(training, checkpoint);
  return { steps: training.steps };
}

describe("Interrupt", () => {
  it("is orderly at the first signal, and ends the program at the second", {
    ignore: isWindows,
  }, () =>
    inFolder(async (folder) => {
      const program = `${folder}/program.ts`;
      const module = new URL("../../notebooks/train/interrupt.ts", import.meta.url).href;
      await Deno.writeTextFile(
        program,
        `import { Interrupt } from ${JSON.stringify(module)};
        const interrupt = new Interrupt({
          // Signals of one key press come within 0.3 s.
          first: () => setTimeout(() => console.log("once", interrupt.requested), 500),
          second: () => console.log("twice"),
        });
        setTimeout(() => Deno.exit(1), 60_000);
        console.log("ready", interrupt.requested);`,
      );
      const { code, stdout } = await runInterrupted([program], ["ready false", "once true"]);
      assertEquals([code, stdout], [130, "ready false\nonce true\ntwice\n"]);
    }));
});
