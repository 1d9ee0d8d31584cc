/** Signals in the middle of work, and processes that end in the middle of a write. */
import { memoryEfficientAttention } from "@denoformers/attention";
import { assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { TuningFile } from "../../gpu/tuning/file.ts";
import { denoHost } from "../../gpu/tuning/place.ts";
import { readCheckpoint, restore } from "../../notebooks/train/checkpoint.ts";
import { Training } from "../../notebooks/train/loop.ts";
import { sharedDevice } from "../_device.ts";
import { runProgram } from "./_program.ts";
import { inFolder } from "../_folder.ts";

const isWindows = Deno.build.os === "windows"; // It has no signal to send.
const PROGRAMS = "tests/faults/programs";

describe("a signal", { ignore: isWindows }, () => {
  // tests/notebooks/train_test.ts does so by SIGINT, and goes on from the file.
  it("SIGTERM ends a training with code 143 and a whole checkpoint", () =>
    inFolder(async (folder) => {
      const path = `${folder}/digits.safetensors`;
      const args = ["--epochs=50", "--batch=16", "--limit=100", "--checkpoint", path];
      const { code, text } = await runProgram("notebooks/train.ts", args, {
        onLine: { at: "held out    seconds", act: (child) => child.kill("SIGTERM") },
      });
      assertEquals(code, 143, text);
      assertStringIncludes(text, `deno task train --resume ${path}`);
      const checkpoint = await readCheckpoint(path);
      using training = new Training(await sharedDevice(), checkpoint.options);
      restore(training, checkpoint);
      assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["digits.safetensors"]);
    }));

  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    it(`${signal} ends a sweep at once, and the next one on this machine is right`, async () => {
      const { code: actual } = await runProgram(`${PROGRAMS}/sweep.ts`, [], {
        onLine: { at: "round", act: (child) => child.kill(signal) },
      });
      assertEquals(actual, code);
      const device = await sharedDevice();
      using x = device.ones([1, 16, 2, 16]);
      using out = memoryEfficientAttention(x, x, x);
      assertEquals(await out.data(), new Float32Array(512).fill(1));
    });
  }
});

describe("a process that is killed while it writes", { ignore: isWindows }, () => {
  it("leaves whole files, as every reader finds them before", () =>
    inFolder(async (folder) => {
      const device = await sharedDevice();
      const path = `${folder}/digits.safetensors`;
      let reads = 0;
      const readBoth = async () => {
        const checkpoint = await readCheckpoint(path);
        const tuning = new TuningFile(denoHost()!.files, `${folder}/tuning.json`, "a GPU");
        assertEquals(tuning.get("p")?.fingerprint, 1);
        reads++;
        return checkpoint;
      };
      let reading: Promise<unknown> | undefined;
      const { code } = await runProgram(`${PROGRAMS}/writes.ts`, [folder], {
        onLine: {
          at: "written",
          act: (child) => {
            reading = (async () => {
              const end = performance.now() + 1000;
              while (performance.now() < end) await readBoth();
            })().finally(() => child.kill("SIGKILL"));
            reading.catch(() => {}); // It is awaited below.
          },
        },
      });
      assertEquals(code, 137);
      await reading;
      assertGreater(reads, 10);
      using training = new Training(device, (await readBoth()).options);
      restore(training, await readBoth());
    }));
});
