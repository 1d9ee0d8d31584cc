/** A program that tunes, run by a test with more or fewer permissions. Prints the choice it made. */
import { requestDevice } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import { spinProblem } from "./_problems.ts";

using device = await requestDevice();
const works = { slow: 40_000, fast: 2_000 };
runtimeOf(device).tuner.choose(spinProblem(device, "a program's", works));
const [{ choice, source } = { choice: "", source: "" }] = device.tuning();
// deno-lint-ignore no-console -- what the test reads
console.log(`${choice} ${source}`);
