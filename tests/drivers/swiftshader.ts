/**
 * Fetches SwiftShader, Google's Vulkan driver for the CPU, out of an npm package that ships it beside a
 * browser. It stays in `.cache/`, outside version control.
 */
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

const PACKAGE = "@sparticuz/chromium";
const VERSION = "153.0.0";
const ARCHIVE = `node_modules/${PACKAGE}/bin/swiftshader.tar.br`;
const ICD = "vk_swiftshader_icd.json";

const CACHE = fileURLToPath(new URL("../../.cache/", import.meta.url));

/**
 * Makes sure that SwiftShader is there.
 *
 * @returns The path of the file that describes the driver to the Vulkan loader.
 */
export async function fetchSwiftShader(): Promise<string> {
  const folder = `${CACHE}swiftshader-${VERSION}`;
  if (exists(`${folder}/${ICD}`)) return `${folder}/${ICD}`;
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    throw new Error(
      `Cannot fetch SwiftShader: ${PACKAGE} has it for Linux on x86_64 only, ` +
        `got ${Deno.build.os} on ${Deno.build.arch}`,
    );
  }
  Deno.mkdirSync(CACHE, { recursive: true });
  const work = Deno.makeTempDirSync({ dir: CACHE, prefix: "fetch-" });
  try {
    await installPackage(work);
    const unpacked = `${work}/unpacked`;
    await unpack(`${work}/${ARCHIVE}`, unpacked);
    publish(unpacked, folder);
  } finally {
    Deno.removeSync(work, { recursive: true });
  }
  return `${folder}/${ICD}`;
}

/** Lets Deno's own npm client put the package in a folder where its files can be read by path. */
async function installPackage(folder: string): Promise<void> {
  const config = { nodeModulesDir: "auto", imports: { chromium: `npm:${PACKAGE}@${VERSION}` } };
  Deno.writeTextFileSync(`${folder}/deno.json`, JSON.stringify(config));
  const install = new Deno.Command(Deno.execPath(), {
    args: ["install", "--quiet"],
    cwd: folder,
    stdin: "null",
  });
  const { success, stderr } = await install.output();
  if (success) return;
  throw new Error(`Cannot fetch SwiftShader: deno install failed\n${decode(stderr)}`);
}

async function unpack(archive: string, folder: string): Promise<void> {
  Deno.mkdirSync(folder);
  const tar = new Deno.Command("tar", {
    args: ["-x", "--no-same-owner", "-C", folder],
    stdin: "piped",
    stderr: "piped",
  }).spawn();
  const writer = tar.stdin.getWriter();
  const written = writer.write(brotliDecompressSync(Deno.readFileSync(archive)))
    .then(() => writer.close())
    // tar went away early; its exit code says so below.
    .catch(() => {});
  const { success, stderr } = await tar.output();
  await written;
  if (!success) throw new Error(`Cannot unpack ${archive}: ${decode(stderr)}`);
  if (!exists(`${folder}/${ICD}`)) throw new Error(`Cannot find ${ICD} in ${archive}`);
}

/** Gives a finished folder its name in one step, so that no one ever sees a part of it. */
function publish(from: string, to: string): void {
  try {
    Deno.renameSync(from, to);
  } catch (error) {
    // Another process may have been faster, and then its folder is as good.
    if (!exists(`${to}/${ICD}`)) throw error;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).trim();
}
