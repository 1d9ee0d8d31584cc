import { formatTensor, summaryAxes } from "../../gpu/format.ts";
import type { DType } from "../../gpu/dtype.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

interface GoldenCase {
  name: string;
  shape: number[];
  dtype: DType;
  data: (number | string)[];
  text: string;
}

const GOLDEN: GoldenCase[] = JSON.parse(
  Deno.readTextFileSync(new URL("../fixtures/format_golden.json", import.meta.url)),
);

const PYTORCH_DTYPES: Record<DType, string> = {
  f32: "torch.float32",
  f16: "torch.float16",
  bf16: "torch.bfloat16",
  i32: "torch.int32",
  u32: "torch.uint32",
  bool: "torch.bool",
};

describe("formatTensor()", () => {
  for (const { name, shape, dtype, data, text } of GOLDEN) {
    it(`prints as PyTorch does: ${name}`, () => {
      assertEquals(
        formatTensor(shape, data.map(Number), dtype),
        text.replace(`dtype=${PYTORCH_DTYPES[dtype]}`, `dtype=${dtype}`),
      );
    });
  }

  it("takes typed arrays", () => {
    assertEquals(formatTensor([2], new Uint8Array([0, 1]), "bool"), "tensor([False,  True])");
    assertEquals(
      formatTensor([2], new Float32Array([0.1, -2]), "f32"),
      "tensor([ 0.1000, -2.0000])",
    );
  });

  it("prints the whole of a large tensor on request", () => {
    const data = new Float32Array(1200).fill(1);
    const text = formatTensor([1200], data, "f32", { summarized: false });
    // 18 entries of "1., " fit between the indent of 7 and column 80.
    assertEquals(text.split("\n").length, Math.ceil(1200 / 18));
    assertEquals(text.match(/1\./g)?.length, 1200);
    assertEquals(text.includes("..."), false);
  });

  it("puts the dtype on its own line just where PyTorch's rule does", () => {
    // Both are 67 columns wide without it, which leaves room for nine letters and not for ten.
    const integers = formatTensor([20], new Int32Array(20), "i32");
    assertEquals(integers, `tensor([${new Array(20).fill("0").join(", ")}], dtype=i32)`);
    const floats = formatTensor([15], new Float32Array(15).fill(1), "bf16");
    assertEquals(floats, `tensor([${new Array(15).fill("1.").join(", ")}],\n       dtype=bf16)`);
  });

  it("throws RangeError on data that does not fit", () => {
    assertThrows(
      () => formatTensor([2, 3], [1, 2], "f32"),
      RangeError,
      "Cannot format tensor [2, 3]: got 2 elements, expected 6",
    );
    assertThrows(
      () => formatTensor([2, 3000], new Float32Array(6000), "f32"),
      RangeError,
      "Cannot format tensor [2, 3000]: got 6000 elements, expected 12",
    );
  });
});

describe("summaryAxes()", () => {
  it("keeps tensors of up to 1000 elements whole", () => {
    assertEquals(summaryAxes([]), []);
    assertEquals(summaryAxes([1000]), [null]);
    assertEquals(summaryAxes([10, 100]), [null, null]);
    assertEquals(summaryAxes([0, 5000]), [null, null]);
  });

  it("cuts axes of more than six", () => {
    assertEquals(summaryAxes([1001]), [[3, 3]]);
    assertEquals(summaryAxes([6, 7, 40]), [null, [3, 3], [3, 3]]);
    assertEquals(summaryAxes([1, 2000]), [null, [3, 3]]);
  });
});
