import {
  cat,
  type Device,
  type DType,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const LIMIT = 2 ** 16;
const large = await sharedDevice();
/** A device that must take everything below in several parts. */
const small = await requestDevice({ tune: false, limits: { maxStorageBufferBindingSize: LIMIT } });

/** Asserts that a computation gives the same bits on both devices, and leaves nothing behind. */
async function assertSame(what: string, compute: (device: Device) => Tensor): Promise<void> {
  const [expected, actual] = [large, small].map((device) => tidy(() => compute(device))) as [
    Tensor,
    Tensor,
  ];
  assert(4 * actual.size > LIMIT || actual.size < 100, `${what} is large, or of something large`);
  assertEquals([actual.shape, actual.dtype], [expected.shape, expected.dtype], what);
  const [a, b] = [await actual.data(), await expected.data()];
  assertEquals(new Uint8Array(a.buffer), new Uint8Array(b.buffer), what);
  expected.dispose();
  actual.dispose();
}

const DTYPES: readonly DType[] = ["f32", "f16", "bf16", "i32", "u32", "bool"];
/** More than the limit in every type, and a multiple of nothing. */
const COUNT = 70_001;
const SHAPE = [7, 73, 137]; // 70,007 elements.

describe("tensors larger than a binding", () => {
  it("are uploaded, filled, converted, copied and read back", async () => {
    await assertNoLeak(small, async () => {
      const values = randomValues(COUNT, 1, -9, 9).map(Math.round);
      for (const dtype of DTYPES) {
        const given = dtype === "u32" ? values.map(Math.abs) : values;
        await assertSame(`upload ${dtype}`, (device) => device.tensor(given, { dtype }));
        await assertSame(`full ${dtype}`, (device) => device.full([COUNT], 3, { dtype }));
        await assertSame(`clone ${dtype}`, (device) => {
          using x = device.tensor(given, { dtype });
          return x.clone();
        });
        for (const to of DTYPES) {
          await assertSame(`${dtype} to ${to}`, (device) => {
            using x = device.tensor(given, { dtype });
            return x.to(to);
          });
        }
      }
    });
  });

  it("get the random numbers of their elements' indices, dropout too", async () => {
    await assertNoLeak(small, async () => {
      for (const dtype of ["f32", "f16", "bf16"] as const) {
        await assertSame(`rand ${dtype}`, (device) => device.rand(SHAPE, { seed: 2, dtype }));
        await assertSame(`randn ${dtype}`, (device) => device.randn(SHAPE, { seed: 3, dtype }));
        await assertSame(`dropout ${dtype}`, (device) => {
          using x = device.randn(SHAPE, { seed: 3, dtype });
          return x.dropout(0.3, { seed: 4 });
        });
        await assertSame(`dropout ${dtype}, strided`, (device) => {
          using x = device.randn(SHAPE, { seed: 3, dtype });
          using y = x.permute([2, 0, 1]).slice(0, 1, 137);
          return y.dropout(0.3, { seed: 4 });
        });
      }
    });
  });

  it("are computed with, element by element, beside small and broadcast ones", async () => {
    await assertNoLeak(small, async () => {
      for (const dtype of ["f32", "f16", "i32"] as const) {
        const make = (device: Device, shape: readonly number[]) => {
          const count = shape.reduce((a, b) => a * b, 1);
          return device.tensor(randomValues(count, 5, -9, 9).map(Math.round), { shape, dtype });
        };
        for (const shape of [SHAPE, [1], [137], [73, 1], [7, 1, 1], [1, 73, 137]]) {
          await assertSame(`add ${shape} ${dtype}`, (device) => {
            using x = make(device, SHAPE);
            using y = make(device, shape);
            return x.add(y);
          });
        }
        await assertSame(`outer ${dtype}`, (device) => {
          using row = make(device, [1, 301]);
          using column = make(device, [299, 1]);
          return column.mul(row);
        });
        await assertSame(`gt ${dtype}`, (device) => {
          using x = make(device, SHAPE);
          return x.gt(0);
        });
        await assertSame(`where ${dtype}`, (device) => {
          using x = make(device, SHAPE);
          using mask = x.gt(1);
          return x.where(mask, x.slice(0, 0, 1));
        });
      }
      // A row that is larger than a binding, against which no range of the output has its end.
      await assertSame("long rows", (device) => {
        using x = device.randn([3, 20_001], { seed: 1 });
        using y = device.randn([20_001], { seed: 2 });
        return x.mul(y).add(1);
      });
    });
  });

  it("may be strided in any way", async () => {
    const views: readonly ((x: Tensor) => Tensor)[] = [
      (x) => x.transpose(0, 2),
      (x) => x.permute([1, 2, 0]),
      (x) => x.slice(2, 1, 136),
      (x) => x.slice(2, 0, 137, 2),
      (x) => x.slice(1, 3, 73).transpose(1, 2),
      (x) => x.slice(0, 1, 7),
      (x) => x.select(0, 5),
      (x) => x.slice(0, 6).slice(1, 72).slice(2, 130),
      (x) => x.select(1, 3).unsqueeze(1).expand([7, 80, 137]),
      (x) => x.transpose(0, 2).select(1, 3).unsqueeze(1).expand([137, 90, 7]),
    ];
    await assertNoLeak(small, async () => {
      for (const dtype of ["f32", "f16", "bool"] as const) {
        for (const [i, view] of views.entries()) {
          for (const op of ["clone", "neg"] as const) {
            const compute = (device: Device) => {
              using x = device.tensor(randomValues(70_007, 8).map(Math.round), {
                shape: SHAPE,
                dtype,
              });
              using y = view(x);
              return op === "neg" ? y.to("f32").neg() : y.clone();
            };
            const [expected, actual] = [large, small].map((device) =>
              tidy(() => compute(device))
            ) as [Tensor, Tensor];
            assertEquals(
              await actual.data(),
              await expected.data(),
              `${op} of view ${i}, ${dtype}`,
            );
            expected.dispose();
            actual.dispose();
          }
        }
      }
    });
  });

  it("are joined, and printed by their edges", async () => {
    await assertNoLeak(small, async () => {
      for (const dtype of ["f32", "f16", "bool"] as const) {
        for (let axis = 0; axis < 3; axis++) {
          await assertSame(`cat ${dtype} along ${axis}`, (device) => {
            using x = device.tensor(randomValues(70_007, 8).map(Math.round), {
              shape: SHAPE,
              dtype,
            });
            using y = x.slice(axis, 1, 4);
            return cat([x, y], axis);
          });
        }
        const texts = await Promise.all([large, small].map(async (device) => {
          using x = device.tensor(randomValues(70_007, 8).map(Math.round), { shape: SHAPE, dtype });
          return await x.format();
        }));
        assertEquals(texts[1], texts[0]);
      }
    });
  });

  it("throw in ops that need them whole, before any work, and name the remedy", async () => {
    using x = small.randn([150, 200], { seed: 1 });
    using tall = small.ones([150, 1]);
    using wide = small.ones([1, 200]);
    using square = small.ones([200, 3]);
    await small.sync();
    const operand = "an operand of shape [150, 200] spans 120000 bytes";
    const result = "a result of shape [150, 200] takes 120000 bytes";
    const uses: [string, string, () => unknown][] = [
      ["matmul", operand, () => x.matmul(square)],
      ["matmul", result, () => tall.matmul(wide)],
      ["sum", operand, () => x.sum()],
      ["mean", operand, () => x.mean({ axis: 1 })],
      ["max", operand, () => x.max({ axis: 0 })],
      ["softmax", result, () => x.softmax()],
      ["logSumExp", operand, () => x.logSumExp()],
      ["layerNorm", result, () => x.layerNorm()],
    ];
    small.resetPeakMemory();
    const before = small.memory();
    for (const [action, what, use] of uses) {
      assertThrows(
        use,
        RangeError,
        `Cannot ${action}: ${what}, the device's maxStorageBufferBindingSize is ${LIMIT}; ` +
          `split the tensor, as with chunk(), and ${action} each part`,
      );
    }
    assertEquals(small.memory(), before, "nothing was allocated, not even for a while");
  });

  it("may be given to these ops part by part", async () => {
    const ops: readonly ((x: Tensor) => Tensor)[] = [
      (x) => x.sum(),
      (x) => x.softmax(),
      (x) => x.layerNorm(),
      (x) => x.matmul(x.transpose(0, 1)),
    ];
    for (const dtype of ["f32", "bf16"] as const) {
      for (const op of ops) {
        const results = await Promise.all([large, small].map(async (device) => {
          using x = device.randn([301, 129], { seed: 1, dtype });
          const parts = tidy(() => x.slice(0, 1).chunk(3).map(op));
          const data = await Promise.all(parts.map((part) => part.data()));
          for (const part of parts) part.dispose();
          return data;
        }));
        assertEquals(results[1], results[0]);
      }
    }
  });

  it("leave nothing behind where scratch memory does not fit", async () => {
    using tight = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: LIMIT, maxBufferSize: 200_000 },
    });
    using x = tight.full([300, 300], 1, { dtype: "f16" });
    await assertNoLeak(tight, () => {
      assertThrows(
        () => tidy(() => x.transpose(0, 1).clone()),
        RangeError,
        "maxBufferSize is 200000",
      );
      assertThrows(
        () => tidy(() => cat([x.slice(0, 1), x.slice(0, 299)])),
        RangeError,
        "4 bytes an element",
      );
    });
  });
});
