import { formatTensor } from "../../../gpu/format.ts";
import type { Tensor } from "@denoformers/attention";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("Tensor.data()", () => {
  it("gives the typed array of the dtype", async () => {
    using f = device.tensor([1.5]);
    using i = device.tensor(new Int32Array([-1]));
    using u = device.tensor(new Uint32Array([2 ** 32 - 1]));
    using b = device.tensor([true, false, true, true, false]);
    assertEquals(await f.data(), new Float32Array([1.5]));
    assertEquals<unknown>(await i.data(), new Int32Array([-1]));
    assertEquals<unknown>(await u.data(), new Uint32Array([2 ** 32 - 1]));
    assertEquals<unknown>(await b.data(), new Uint8Array([1, 0, 1, 1, 0]));
    using empty = device.zeros([0, 2], { dtype: "bool" });
    assertEquals<unknown>(await empty.data(), new Uint8Array(0));
  });

  it("gives an array of the caller's own each time", async () => {
    using x = device.tensor([1, 2]);
    const first = await x.data();
    first.fill(0);
    assertEquals(await x.data(), new Float32Array([1, 2]));
  });
});

describe("Tensor.toArray()", () => {
  it("nests one level an axis", async () => {
    using x = nanPadded(device, [1, 2, 3, 4, 5, 6], [1, 3, 2]);
    assertEquals(await x.toArray(), [[[1, 2], [3, 4], [5, 6]]]);
    using scalar = device.tensor(7);
    assertEquals(await scalar.toArray(), 7);
    using b = device.tensor([[true], [false]]);
    assertEquals(await b.toArray(), [[true], [false]]);
    using empty = device.zeros([2, 0]);
    assertEquals(await empty.toArray(), [[], []]);
  });
});

describe("Tensor.item()", () => {
  it("gives the one element, whatever the rank", async () => {
    using x = device.tensor([[[0.5]]]);
    assertEquals(await x.item(), 0.5);
    using b = device.tensor(true);
    assertEquals(await b.item(), 1);
    using i = device.tensor([9, -7, 9], { dtype: "i32" });
    assertEquals(await i.select(0, 1).item(), -7);
  });

  it("rejects with RangeError if there are more or none", async () => {
    using x = device.zeros([2, 1]);
    const text = "Cannot take the item of a tensor of shape [2, 1]: it has 2 elements, expected 1";
    await assertRejects(() => x.item(), RangeError, text);
    using empty = device.zeros([0]);
    await assertRejects(() => empty.item(), RangeError, "it has 0 elements, expected 1");
  });
});

describe("Tensor.format()", () => {
  it("shows small tensors whole, as PyTorch does", async () => {
    using x = nanPadded(device, [0.1, -2, 3, 4], [2, 2]);
    assertEquals(await x.format(), "tensor([[ 0.1000, -2.0000],\n        [ 3.0000,  4.0000]])");
    using b = device.tensor([true, false]);
    assertEquals(await b.format(), "tensor([ True, False])");
    using i = device.tensor(new Int32Array([1, -2]));
    assertEquals(await i.format(), "tensor([ 1, -2], dtype=i32)");
    using scalar = device.tensor(2);
    assertEquals(await scalar.format(), "tensor(2.)");
  });

  it("shows the edges of large tensors, and reads no more than these", async () => {
    await assertNoLeak(device, async () => {
      using x = device.arange(40_000);
      using square = x.reshape([200, 200]);
      using turned = square.transpose(0, 1);
      const kept = [0, 1, 2, 197, 198, 199];
      const edges = kept.flatMap((i) => kept.map((j) => i + 200 * j));
      device.resetPeakMemory();
      const { peakBytes } = device.memory();
      const text = await turned.format();
      assertEquals(text, formatTensor([200, 200], edges, "f32"));
      assertStringIncludes(text, "...");
      // The rows of both ends, then the corners: the first is the most.
      assertEquals(device.memory().peakBytes, peakBytes + 4 * (6 * 200 + 6 * 6));
    });
  });

  it("shows the edges of a large tensor of bools", async () => {
    using x = device.ones([1001], { dtype: "bool" });
    assertEquals(await x.format(), "tensor([True, True, True,  ..., True, True, True])");
  });

  it("agrees with PyTorch for three axes of which two are cut", async () => {
    using x = device.arange(500, 1700);
    using y = x.reshape([2, 20, 30]);
    assertEquals(
      (await y.format()).split("\n").slice(0, 5),
      [
        "tensor([[[ 500.,  501.,  502.,  ...,  527.,  528.,  529.],",
        "         [ 530.,  531.,  532.,  ...,  557.,  558.,  559.],",
        "         [ 560.,  561.,  562.,  ...,  587.,  588.,  589.],",
        "         ...,",
        "         [1010., 1011., 1012.,  ..., 1037., 1038., 1039.],",
      ],
    );
  });
});

describe("a tensor among JavaScript's operators", () => {
  const x = device.tensor([2]);
  // deno-lint-ignore no-explicit-any -- notebooks check no types
  const any = x as any;

  it("throws wherever a number is wanted", () => {
    const uses: (() => unknown)[] = [
      () => any * 2,
      () => 2 - any,
      () => any + 1,
      () => any + "",
      () => -any,
      () => any < 3,
      // deno-lint-ignore eqeqeq -- the kind that converts
      () => any == 2,
      () => Math.max(any, 1),
      () => isNaN(any),
      () => Number(any),
    ];
    for (const use of uses) {
      assertThrows(
        use,
        TypeError,
        "Cannot use a tensor as a number: JavaScript's operators do not compute with tensors; write q.mul(2) " +
          "for q * 2, await q.item() for the number in it, or `${q}` for text",
      );
    }
    assertEquals([any === x, !any], [true, false]);
  });

  it("is text in a template, and no JSON", () => {
    assertEquals(`${x}`, x.toString());
    assertThrows(
      () => JSON.stringify({ loss: x }),
      TypeError,
      "Cannot write a tensor as JSON: its elements are on the GPU; write await q.toArray(), or await q.item()",
    );
  });

  it("lists nothing internal, nor does its device", () => {
    const short = `Device("${device.info.adapter}")`;
    assertEquals(Object.keys(x), ["device"]);
    assertEquals([Deno.inspect(device), JSON.stringify(device)], [short, JSON.stringify(short)]);
    // Where properties are suggested, names of this form are left out.
    const shown = Object.getOwnPropertyNames(device).filter((name) => !name.startsWith("Symbol("));
    assertEquals(shown, ["info"]);
  });
});

describe("Tensor.print() and other ways to show one", () => {
  it("print the format", async () => {
    using x = device.tensor([1, 2]);
    const lines: unknown[][] = [];
    const { log } = console;
    // deno-lint-ignore no-console -- it is what print() writes to
    console.log = (...args) => lines.push(args);
    try {
      await x.print();
    } finally {
      // deno-lint-ignore no-console -- as above
      console.log = log;
    }
    assertEquals(lines, [["tensor([1., 2.])"]]);
  });

  it("give shape, dtype and device without a read", () => {
    const x = device.zeros([2, 3], { dtype: "i32" });
    const text = `Tensor(shape=[2, 3], dtype=i32, device="${device.info.adapter}"`;
    assertEquals(String(x), `${text})`);
    assertEquals(Deno.inspect(x), `${text})`);
    x.dispose();
    assertEquals(String(x), `${text}, disposed)`);
  });

  it("give Jupyter plain text", async () => {
    type Display = Record<symbol, () => Promise<Record<string, string>>>;
    const symbol = Symbol.for("Jupyter.display");
    const show = (tensor: Tensor) => (tensor as unknown as Display)[symbol]!.call(tensor);
    const x = device.tensor([1, 2]);
    assertEquals(await show(x), { "text/plain": "tensor([1., 2.])" });
    x.dispose();
    assertEquals(await show(x), { "text/plain": String(x) });
  });
});
