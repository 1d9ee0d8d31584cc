/** That OpenGL stays out of processes that use Vulkan, since its library ends some of them badly. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fileURLToPath } from "node:url";

const PROGRAM = fileURLToPath(new URL("_backend.ts", import.meta.url));

/** What the program prints in a process whose variable is as given: this process's was set by other tests. */
async function outcome(given?: string): Promise<{ backend: string; openGL: boolean }> {
  const { DENO_WEBGPU_BACKEND: _, ...env } = Deno.env.toObject();
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", PROGRAM],
    clearEnv: true,
    env: given === undefined ? env : { ...env, DENO_WEBGPU_BACKEND: given },
    stderr: "inherit",
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

describe("requestDevice() on Linux", { ignore: Deno.build.os !== "linux" }, () => {
  it("keeps Deno to Vulkan, and loads nothing of OpenGL", async () => {
    assertEquals(await outcome(), { backend: "vulkan", openGL: false });
  });

  it("leaves the choice to whoever made one", async () => {
    assertEquals((await outcome("vulkan,gl")).backend, "vulkan,gl");
  });
});
