/** The package as a script elsewhere sees it: by name, with no permission. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { it } from "@std/testing/bdd";

/** The example of the README, whose result another project prints. */
const SCRIPT = `
import { LowerTriangularMask, memoryEfficientAttention, requestDevice } from "@denoformers/attention";
const device = await requestDevice({ tune: false });
const [q, k, v] = [1, 2, 3].map((seed) => device.randn([2, 64, 2, 16], { seed }));
const out = memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask(), scale: 0.25 });
const data = await out.data();
console.log(out.shape.join(), data.length, data.every(Number.isFinite));
console.log(device.memory().tensors);
`;

it("the package works from a script outside, which maps its name to mod.ts, with no permission", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const imports = { "@denoformers/attention": import.meta.resolve("../mod.ts") };
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ imports }));
    await Deno.writeTextFile(`${folder}/script.ts`, SCRIPT);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-lock", "script.ts"],
      cwd: folder,
      env: { NO_COLOR: "1" },
    }).output();
    const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assertEquals(code, 0, errors);
    assertStringIncludes(text!, "2,64,2,16 4096 true\n4\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
