/** Which graphics interface Deno computes through. */

/** Deno's own variable: interfaces that it may use, with commas between them. Without it, all. */
const VARIABLE = "DENO_WEBGPU_BACKEND";

/** What this module needs of `Deno`, which other runtimes lack. */
interface DenoParts {
  readonly build: { readonly os: string };
  readonly env: { has(name: string): boolean; set(name: string, value: string): void };
  readonly permissions: {
    querySync(descriptor: { name: "env"; variable: string }): { readonly state: string };
  };
}

/**
 * Keeps Deno on Linux to Vulkan, unless {@linkcode VARIABLE} is set or may not be: that is looked up, never asked
 * for. It counts for the first adapter that a thread requests, so call this before.
 *
 * Deno would load OpenGL's libEGL even where it then takes Vulkan. NVIDIA's libglvnd, whose libEGL is that of most
 * distributions, frees what it holds for a thread once as the thread ends and once as the process exits, without
 * seeing to it that only one of them does. Threads of `deno test` and of workers end as the process exits, which then
 * aborts now and then: "double free or corruption". OpenGL alone would be of no use: its software driver takes
 * minutes to compile kernels.
 */
export function avoidOpenGL(): void {
  const { Deno } = globalThis as { Deno?: DenoParts };
  if (Deno?.build.os !== "linux") return;
  const { state } = Deno.permissions.querySync({ name: "env", variable: VARIABLE });
  if (state === "granted" && !Deno.env.has(VARIABLE)) Deno.env.set(VARIABLE, "vulkan");
}
