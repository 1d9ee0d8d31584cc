/**
 * The ways in which notebooks fail without a word: output that gets lost, and cells that never end.
 *
 *     deno test -A tests/jupyter/outputs.ts
 */
import { assert, assertEquals, assertLess, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runCommand } from "../../gpu/setup/command.ts";
import { ensureJupyter } from "../../notebooks/jupyter/ensure_jupyter.ts";
import { executeNotebook } from "../../notebooks/jupyter/execute.ts";
import { joined, type Notebook, readNotebook } from "../../notebooks/jupyter/notebook_file.ts";
import { ROOT } from "../../notebooks/jupyter/paths.ts";

const jupyter = await ensureJupyter();
/** In the project, so that its deno.json counts. */
const FOLDER = `${ROOT}.cache/notebooks/generated/`;
Deno.mkdirSync(FOLDER, { recursive: true });

function write(name: string, sources: readonly string[]): string {
  const cells = sources.map((source, n) => ({
    cell_type: "code",
    id: `cell-${n}`,
    metadata: {},
    source,
    outputs: [],
    execution_count: null,
  }));
  const kernelspec = { display_name: "Deno", language: "typescript", name: "deno" };
  const path = `${FOLDER}${name}.ipynb`;
  const notebook = { cells, metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5 };
  Deno.writeTextFileSync(path, JSON.stringify(notebook));
  return path;
}

/** What the code cells showed: what was printed, and the plain text of displays and results. */
function shown({ cells }: Notebook): string[][] {
  return cells.map(({ outputs = [] }) => {
    const texts = outputs.map(({ text, data }) => joined(text ?? (data?.["text/plain"] as string)));
    return texts.join("\n").split("\n").filter((line) => line !== "");
  });
}

/** Few messages are lost seldom, many often; together they are a few hundred chances. */
const KINDS = [
  { prints: 1, displays: 0 },
  { prints: 10, displays: 0 },
  { prints: 40, displays: 1 },
  { prints: 0, displays: 10 },
];

/** A notebook that shows much, behind a cell that shows nothing, and what it shows. */
function writeMany(
  name: string,
  first: string,
  cells: number,
): { path: string; expected: string[][] } {
  const expected: string[][] = [[]];
  const sources = [first];
  for (let cell = 0; cell < cells; cell++) {
    const { prints, displays } = KINDS[cell % KINDS.length]!;
    sources.push(`for (let n = 0; n < ${prints}; n++) console.log(\`print ${cell} \${n}\`);
for (let n = 0; n < ${displays}; n++) {
  await Deno.jupyter.display({ "text/plain": \`display ${cell} \${n}\` }, { raw: true });
}
${cell}`);
    expected.push([
      ...Array.from({ length: prints }, (_, n) => `print ${cell} ${n}`),
      ...Array.from({ length: displays }, (_, n) => `display ${cell} ${n}`),
      `${cell}`,
    ]);
  }
  return { path: write(name, sources), expected };
}

describe("no output is lost or shown below another cell", () => {
  it("by the helpers, in a client that stops to listen when a cell has ended", async () => {
    // The result of an import alone would be the module.
    const first = 'import "@denoformers/attention/notebook";\nnull;';
    const { path, expected } = writeMany("with_helpers", first, 120);
    const program = "from nbclient.cli import main; main()";
    const args = [path, "--inplace", "--timeout=60", "--kernel_name=deno"];
    const result = await runCommand([jupyter.python, "-c", program, ...args], {
      timeout: 150,
      env: { ...jupyter.env, NO_COLOR: "1" },
    });
    assert(result.ok, `${result.ending}: ${result.stderr}`);
    assertEquals(shown(readNotebook(path)), expected);
  });

  it("by notebook:run, in a notebook without the helpers", async () => {
    const { path, expected } = writeMany("without_helpers", "null;", 60);
    const run = { notebook: path, out: path, seconds: 150, quiet: true };
    const { ok, messages } = await executeNotebook(jupyter, run);
    assert(ok, messages);
    assertEquals(shown(readNotebook(path)), expected);
  });
});

describe("a matrix as a cell's last value", () => {
  const sources = [
    'import { sharedDevice } from "@denoformers/attention/notebook";\n' +
    "const device = await sharedDevice({ tune: false });\nnull;",
    "device.tensor([[1, 2], [3, 4]])",
  ];
  const printed = "tensor([[1., 2.],\n        [3., 4.]])";

  async function outputsAs(kind: "static" | "interactive") {
    const path = write(`matrix_${kind}`, sources);
    const run = { notebook: path, out: path, seconds: 60, quiet: true };
    const env = { DENOFORMERS_NOTEBOOK_OUTPUT: kind };
    const { ok, messages } = await executeNotebook(jupyter, { ...run, env });
    assert(ok, messages);
    return readNotebook(path).cells[1]!.outputs!.map(({ output_type: type, data = {} }) => ({
      type,
      data: Object.fromEntries(
        Object.entries(data).map(([mime, text]) => [mime, joined(text as string)]),
      ),
    }));
  }

  it("is printed as PyTorch does, with a picture beside it", async () => {
    const [result, ...others] = await outputsAs("interactive");
    assertEquals(others, []);
    assertEquals(result!.type, "execute_result");
    assertEquals(result!.data["text/plain"], printed);
    assertStringIncludes(result!.data["text/html"]!, `<pre>${printed}</pre><img width="64"`);
    assertStringIncludes(result!.data["text/html"]!, 'src="data:image/png;base64,iVBORw0KGgo');
  });

  it("is a picture and text of its own where output is committed", async () => {
    const [picture, result, ...others] = await outputsAs("static");
    assertEquals(others, []);
    assertEquals(Object.keys(picture!.data).sort(), ["image/png", "text/plain"]);
    assertEquals(result, { type: "execute_result", data: { "text/plain": printed } });
  });
});

describe("a run of a notebook that cannot end well", () => {
  /** Of a cell; the kernel's start and its end take as much again, on a busy computer more. */
  const CELL_SECONDS = 4;
  const MOST_SECONDS = 60;

  const cases = [
    { name: "an endless loop", code: "while (true);", text: "did not end within 4 s" },
    { name: "a promise that never settles", code: "await new Promise(() => {});", text: "4 s" },
    { name: "a syntax error", code: "const = 1;", text: "syntax error" },
    { name: "a kernel that ends", code: "Deno.exit(0);", text: "the kernel died in" },
    { name: "an error", code: 'throw new RangeError("of mine");', text: "RangeError: of mine" },
  ];

  for (const { name, code, text } of cases) {
    it(`ends in time, names the cell, and leaves no kernel: ${name}`, async () => {
      const file = name.replaceAll(" ", "_");
      const pid = `${FOLDER}${file}.pid`;
      const notebook = write(file, [
        `Deno.writeTextFileSync(${JSON.stringify(pid)}, String(Deno.pid));`,
        code,
        "1",
      ]);
      const before = Deno.readTextFileSync(notebook);
      const start = performance.now();
      const { ok, messages } = await executeNotebook(jupyter, {
        notebook,
        out: notebook,
        cellSeconds: CELL_SECONDS,
        quiet: true,
      });
      assertEquals(ok, false);
      assertLess((performance.now() - start) / 1000, MOST_SECONDS);
      assertStringIncludes(messages, text);
      assertStringIncludes(messages, `cell 2 (id cell-1: "${code}")`);
      assertEquals(Deno.readTextFileSync(notebook), before);
      // A signal that does nothing to a process, if there is one.
      const kernel = Number(Deno.readTextFileSync(pid));
      assertThrows(() => Deno.kill(kernel, "SIGCONT"), Deno.errors.NotFound);
    });
  }

  it("ends in time where many cells take long together", async () => {
    const pause = "await new Promise((done) => setTimeout(done, 1000));";
    const notebook = write("many_pauses", Array(20).fill(pause));
    const run = { notebook, out: notebook, cellSeconds: CELL_SECONDS, seconds: 5, quiet: true };
    const { ok, messages } = await executeNotebook(jupyter, run);
    assertEquals(ok, false);
    assertStringIncludes(messages, "did not end within 5 s: it was in cell ");
  });
});
