// deno-lint-ignore-file no-console -- a program of the command line
/** A program that requests a device, and prints which interfaces Deno may use, and whether it loaded OpenGL. */
import { requestDevice } from "@denoformers/attention";

using _device = await requestDevice({ tune: false });
const backend = Deno.env.get("DENO_WEBGPU_BACKEND");
const openGL = /libEGL\.so/.test(Deno.readTextFileSync("/proc/self/maps"));
console.log(JSON.stringify({ backend, openGL }));
