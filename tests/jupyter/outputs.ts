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

/** What the code cells showed: what was printed, the plain text of displays and results, and errors. */
function shown({ cells }: Notebook): string[][] {
  return cells.map(({ outputs = [] }) => {
    const texts = outputs.map(({ text, data, ...error }) =>
      joined((text ?? data?.["text/plain"] ?? (error as { evalue?: string }).evalue) as string)
    );
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

/** Runs a notebook in a client that stops to listen when a cell has ended. */
async function runPlainly(path: string, ...flags: string[]): Promise<Notebook> {
  const program = "from nbclient.cli import main; main()";
  const args = [path, "--inplace", "--timeout=60", "--kernel_name=deno", ...flags];
  const result = await runCommand([jupyter.python, "-c", program, ...args], {
    timeout: 150,
    env: { ...jupyter.env, NO_COLOR: "1" },
  });
  assert(result.ok, `${result.ending}: ${result.stderr}`);
  return readNotebook(path);
}

describe("no output is lost or shown below another cell", () => {
  it("by the helpers, in a client that stops to listen when a cell has ended", async () => {
    // The result of an import alone would be the module.
    const first = 'import "@denoformers/attention/notebook";\nnull;';
    const { path, expected } = writeMany("with_helpers", first, 120);
    assertEquals(shown(await runPlainly(path)), expected);
  });

  it("by notebook:run, in a notebook without the helpers", async () => {
    const { path, expected } = writeMany("without_helpers", "null;", 60);
    const run = { notebook: path, out: path, seconds: 150, quiet: true };
    const { ok, messages } = await executeNotebook(jupyter, run);
    assert(ok, messages);
    assertEquals(shown(readNotebook(path)), expected);
  });
});

describe("no output is lost, whichever way a cell ends", () => {
  const LINES = 300;
  const first = 'import * as nb from "@denoformers/attention/notebook";\nnull;';
  const print = `for (let n = 0; n < ${LINES}; n++) console.log(\`print \${n}\`);\n`;
  const printed = Array.from({ length: LINES }, (_, n) => `print ${n}`);

  it("by an error, in a client that stops to listen when a cell has ended", async () => {
    const ends = [
      ['throw new Error("diverged");', "diverged"],
      ['throw "a text";', "a text"],
      ['await Promise.reject(new RangeError("rejected"));', "rejected"],
      ['await new Promise((_, fail) => setTimeout(() => fail(Error("late")), 20));', "late"],
      ["await nb.table(5);", "Cannot show a table: rows is 5, expected an array of objects"],
      ['({ [Symbol.for("Jupyter.display")]() { throw new Error("display"); } })', "display"],
      [
        'await nb.plot({ data: [] });\nthrow new Error("behind a figure");',
        "[plot] no traces",
        "behind a figure",
      ],
      [
        `const line = nb.progress(9);\nfor (let n = 0; n < 9; n++) await line.update(n);
throw new Error("behind progress");`,
        "behind progress",
      ],
    ] as const;
    const path = write("errors", [first, ...ends.map(([code]) => print + code)]);
    const [, ...cells] = shown(await runPlainly(path, "--allow-errors"));
    for (const [n, [, ...texts]] of ends.entries()) {
      // An error comes behind all else; of the line of progress the time is not known.
      const lines = cells[n]!.filter((line) => !line.includes("/9 "));
      assertEquals(lines, [...printed, ...texts]);
    }
  });

  /** Runs cells in a folder, interrupts the last one at its first line if told, and tells what it printed before its end. */
  const program = `import json, sys
from jupyter_client.manager import KernelManager
folder, *cells, last = json.loads(sys.argv[1])
manager = KernelManager(kernel_name="deno")
manager.start_kernel(cwd=folder)
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)
for cell in cells:
    client.execute_interactive(cell, output_hook=lambda message: None)
sent = client.execute(last)
lines = []
try:
    while True:
        message = client.get_iopub_msg(timeout=2)
        if message["parent_header"].get("msg_id") == sent and message["msg_type"] == "stream":
            if "interrupt" in sys.argv and not lines:
                manager.interrupt_kernel()
            lines += message["content"]["text"].split()
except Exception:
    print(json.dumps({"lines": lines, "alive": manager.is_alive()}))
client.stop_channels()
manager.shutdown_kernel(now=True)`;

  const ways = [
    { name: "by Deno.exit()", end: "Deno.exit(0);", flags: [] },
    { name: "by an interrupt of a busy loop", end: "while (true);", flags: ["interrupt"] },
    {
      name: "by an interrupt of a cell that waits",
      end: "await new Promise(() => {});",
      flags: ["interrupt"],
    },
  ];
  for (const { name, end, flags } of ways) {
    it(name, async () => {
      const cells = JSON.stringify([FOLDER, first, print + end]);
      const result = await runCommand([jupyter.python, "-c", program, cells, ...flags], {
        timeout: 120,
        env: jupyter.env,
      });
      assert(result.ok, `${result.ending}: ${result.stderr}`);
      const lines = printed.flatMap((line) => line.split(" "));
      assertEquals(JSON.parse(result.stdout), { lines, alive: false });
    });
  }
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
