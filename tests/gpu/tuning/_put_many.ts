/** A program that puts many choices into a tuning file, run several times at once: FILE NAME COUNT. */
import { TuningFile } from "../../../gpu/tuning/file.ts";
import { denoHost } from "../../../gpu/tuning/place.ts";

const [path, name, count] = Deno.args as [string, string, string];
const { files } = denoHost()!;
for (let i = 0; i < Number(count); i++) {
  new TuningFile(files, path, "GPU").put({
    problem: `${name} ${i}`,
    choice: "x".repeat(400),
    fingerprint: 1,
    untried: 0,
    attempts: 1,
  });
}
