/** Programs in processes of their own, with no more than the permissions that are named. */

/** How a program ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program of this repository.
 *
 * @param program Its path from the root.
 * @param permissions Flags, as in `--allow-read=folder`; there is nobody to ask for more.
 * @param args Its arguments.
 */
export async function runWith(
  program: string,
  permissions: readonly string[],
  args: readonly string[] = [],
): Promise<Outcome> {
  const root = new URL("../../", import.meta.url);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--quiet", "--no-prompt", ...permissions, program, ...args],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
