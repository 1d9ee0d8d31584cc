// deno-lint-ignore-file no-console -- a program whose output is read
/** Writes a checkpoint and a tuning file, again and again, until it is killed: `writes.ts FOLDER`. */
import { requestDevice } from "@denoformers/attention";
import { TuningFile } from "../../../gpu/tuning/file.ts";
import { denoHost } from "../../../gpu/tuning/place.ts";
import { writeCheckpoint } from "../../../notebooks/train/checkpoint.ts";
import { Training } from "../../../notebooks/train/loop.ts";

const [folder] = Deno.args;
using device = await requestDevice({ tune: false });
using training = new Training(device, {
  epochs: 1,
  batch: 16,
  seed: 1,
  attention: "memory-efficient",
  limit: 100,
});
const tuning = new TuningFile(denoHost()!.files, `${folder}/tuning.json`, "a GPU");
for (let i = 0;; i++) {
  tuning.put({ problem: "p", choice: `${i}`, fingerprint: 1, untried: 0, attempts: 1 });
  await writeCheckpoint(training, `${folder}/digits.safetensors`);
  if (i === 0) console.log("written");
}
