import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { afterEach, beforeEach, describe, it } from "@std/testing/bdd";
import { SetupError } from "../../../gpu/setup/install.ts";
import { findPython } from "../../../notebooks/jupyter/python.ts";
import { ensureVenv, pythonOf } from "../../../notebooks/jupyter/venv.ts";

/**
 * A Python in a few lines of shell: it answers with its version, makes an environment by copying itself,
 * and counts its installations in the file `installed`, where it fails if there is a file `broken`.
 */
const PYTHON = `#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
case "$1 $2" in
  "-c "*) echo 3 11 "$here" ;;
  "-m venv") mkdir -p "$3/bin" && sed "s|^base=.*|base='$base'|" "$0" > "$3/bin/python" && chmod +x "$3/bin/python" ;;
  "-m pip") [ -e "$base/broken" ] && { echo "no such package" >&2; exit 1; }; sleep 0.2; echo x >> "$base/installed" ;;
esac
`;

// The system's Windows has no shell for this.
describe({ name: "Python", ignore: Deno.build.os === "windows" }, () => {
  let folder: string;

  beforeEach(() => {
    folder = Deno.makeTempDirSync();
    program("python", PYTHON.replace("\nhere=", `\nbase='${folder}'\nhere=`));
    Deno.writeTextFileSync(`${folder}/requirements.txt`, "jupyterlab==1\n");
  });

  afterEach(() => Deno.removeSync(folder, { recursive: true }));

  function program(name: string, text: string): string {
    Deno.writeTextFileSync(`${folder}/${name}`, text);
    Deno.chmodSync(`${folder}/${name}`, 0o755);
    return `${folder}/${name}`;
  }

  function ensure(): Promise<string> {
    return ensureVenv({
      folder: `${folder}/cache/venv`,
      requirements: `${folder}/requirements.txt`,
      summary: "nothing, for a test,",
      findPython: () => Promise.resolve(`${folder}/python`),
    });
  }

  function installations(): number {
    return Deno.readTextFileSync(`${folder}/installed`).trim().split("\n").length;
  }

  it("makes an environment once: ensureVenv()", async () => {
    const python = await ensure();
    assertEquals(python, pythonOf(`${folder}/cache/venv`));
    assert(Deno.statSync(python).isFile);
    await ensure();
    assertEquals(installations(), 1);
  });

  it("makes it anew if its packages or its Python changed, or its folder was moved", async () => {
    const python = await ensure();
    Deno.writeTextFileSync(`${folder}/requirements.txt`, "jupyterlab==2\n");
    await ensure();
    assertEquals(installations(), 2);
    Deno.removeSync(python);
    await ensure();
    assertEquals(installations(), 3);
    const stamp = `${folder}/cache/venv/stamp.json`;
    const { folder: made, ...others } = JSON.parse(Deno.readTextFileSync(stamp));
    Deno.writeTextFileSync(stamp, JSON.stringify({ folder: `${made}/elsewhere`, ...others }));
    await ensure();
    assertEquals(installations(), 4);
  });

  it("says why it failed, and makes it anew the next time", async () => {
    Deno.writeTextFileSync(`${folder}/broken`, "");
    const error = await assertRejects(ensure, SetupError, "no such package");
    assertStringIncludes(error.message, "-m pip install");
    Deno.removeSync(`${folder}/broken`);
    await ensure();
    assertEquals(installations(), 1);
  });

  it("is made by one of several that ask at the same time", async () => {
    await Promise.all([ensure(), ensure(), ensure()]);
    assertEquals(installations(), 1);
  });

  it("is found where it is new enough and can make environments: findPython()", async () => {
    const old = program("old", "#!/bin/sh\necho 3 9 /old\n");
    const bare = program("bare", "#!/bin/sh\necho 'no module named ensurepip' >&2; exit 1\n");
    const good = program("good", "#!/bin/sh\necho 3 10 '/a b/python'\n");
    const missing = `${folder}/missing`;
    assertEquals(await findPython([missing, old, bare, good]), "/a b/python");
    assertEquals(await findPython([missing, old, bare]), undefined);
  });
});
