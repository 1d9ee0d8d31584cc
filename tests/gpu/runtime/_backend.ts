// deno-lint-ignore-file no-console -- a program of the command line
/**
 * A program that requests a device, and prints which interfaces Deno may use, and whether OpenGL was loaded by anybody
 * but the driver: NVIDIA's for Vulkan loads it by itself.
 */
import { requestDevice } from "@denoformers/attention";

using device = await requestDevice({ tune: false });
const backend = Deno.env.get("DENO_WEBGPU_BACKEND");
const openGL = device.info.isFallback &&
  /libEGL\.so/.test(Deno.readTextFileSync("/proc/self/maps"));
console.log(JSON.stringify({ backend, openGL }));
