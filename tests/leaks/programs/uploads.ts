// deno-lint-ignore-file no-console -- what it prints is its result
/**
 * Uploads one tensor of 4 MiB after the other, computes nothing and awaits no result; prints as JSON by how many bytes
 * the process grew meanwhile.
 *
 *     deno run -A tests/leaks/programs/uploads.ts COUNT
 *
 * @module
 */
import { requestDevice } from "@denoformers/attention";

using device = await requestDevice({ tune: false });
const data = new Float32Array(2 ** 20);
device.tensor(data).dispose();
const before = Deno.memoryUsage().rss;
for (let i = 0; i < Number(Deno.args[0]); i++) {
  device.tensor(data).dispose();
  await new Promise((done) => setTimeout(done, 0));
}
console.log(JSON.stringify({ growth: Deno.memoryUsage().rss - before }));
