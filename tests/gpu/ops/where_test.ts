import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("Tensor.where()", () => {
  it("picks from this tensor where the condition holds, and from the other elsewhere", async () => {
    using condition = device.tensor([[true, false, true], [false, true, false]]);
    using x = nanPadded(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    using y = nanPadded(device, [-1, -2, -3], [3]);
    using picked = x.where(condition, y);
    assertEquals(await picked.data(), new Float32Array([1, -2, 3, -1, 5, -3]));
    using withNumber = x.where(condition, 0.5);
    assertEquals(await withNumber.data(), new Float32Array([1, 0.5, 3, 0.5, 5, 0.5]));
  });

  it("broadcasts the condition", async () => {
    using condition = device.tensor([[true], [false]]);
    using x = device.tensor([1, 2]);
    using y = device.tensor(9);
    using picked = x.where(condition, y);
    assertEquals([picked.shape, [...await picked.data()]], [[2, 2], [1, 2, 9, 9]]);
  });

  it("lets nothing through of what it does not pick", async () => {
    using condition = device.tensor([true, false]);
    using x = device.tensor([1, NaN]);
    using y = device.tensor([Infinity, 2]);
    using picked = x.where(condition, y);
    assertEquals(await picked.data(), new Float32Array([1, 2]));
  });

  it("brings dtypes together and leaves no scratch behind", async () => {
    await assertNoLeak(device, async () => {
      using condition = device.tensor([true, false, true]);
      using i = device.tensor(new Int32Array([1, 2, 3]));
      using f = device.tensor([0.5, 1.5, 2.5]);
      using b = device.tensor([false, true, false]);
      using mixed = i.where(condition, f);
      assertEquals([mixed.dtype, [...await mixed.data()]], ["f32", [1, 1.5, 3]]);
      using whole = i.where(condition, b);
      assertEquals([whole.dtype, [...await whole.data()]], ["i32", [1, 1, 3]]);
      using both = b.where(condition, condition);
      assertEquals([both.dtype, [...await both.data()]], ["bool", [0, 0, 0]]);
      using kept = i.where(condition, -1);
      assertEquals([kept.dtype, [...await kept.data()]], ["i32", [1, -1, 3]]);
    });
  });

  it("throws TypeError for a condition that is not bool", () => {
    using x = device.tensor([1]);
    assertThrows(
      () => x.where(x, 0),
      TypeError,
      "Cannot select by a condition of dtype f32, expected bool",
    );
  });
});

describe("Tensor.maskedFill()", () => {
  it("fills with -Infinity, as masks do", async () => {
    using x = nanPadded(device, [1, 2, 3, 4], [2, 2]);
    using mask = device.tensor([[false, true], [false, false]]);
    using filled = x.maskedFill(mask, -Infinity);
    assertEquals(await filled.data(), new Float32Array([1, -Infinity, 3, 4]));
    using negated = mask.logicalNot();
    using rest = filled.maskedFill(negated, 0);
    assertEquals(await rest.data(), new Float32Array([0, -Infinity, 0, 0]));
  });

  it("broadcasts a mask that starts within a word", async () => {
    using mask = device.tensor([true, true, false, true, true]);
    using part = mask.slice(0, 2, 4);
    using x = device.tensor([[1, 2], [3, 4]]);
    using filled = x.maskedFill(part, 7);
    assertEquals(await filled.data(), new Float32Array([1, 7, 3, 7]));
  });

  it("hides NaN", async () => {
    using x = device.tensor([NaN, 1]);
    using mask = x.ne(x);
    using filled = x.maskedFill(mask, 0);
    assertEquals(await filled.data(), new Float32Array([0, 1]));
  });
});
