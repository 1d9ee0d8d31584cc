import {
  coalesce,
  contiguousLayout,
  expandLayout,
  isContiguous,
  type Layout,
  permuteLayout,
  reshapeLayout,
  resolveReshape,
  selectLayout,
  sliceLayout,
  squeezeLayout,
  unsqueezeLayout,
} from "../../gpu/layout.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { type HostArray, hostArray, indices, numel, placeOf } from "./_values.ts";

/** Where each element lies, in row-major order, by the definition of a layout. */
function positions({ shape, strides, offset }: Layout): number[] {
  return indices(shape).map((index) =>
    index.reduce((position, i, axis) => position + i * strides[axis]!, offset)
  );
}

/** A layout together with a plain array of the positions that it should have. */
interface Modelled {
  readonly layout: Layout;
  readonly model: HostArray;
}

type Step = (state: Modelled) => Modelled;

function rearranged(
  { model }: Modelled,
  shape: readonly number[],
  from: (index: number[]) => number[],
): HostArray {
  return hostArray(shape, (index) => model.data[placeOf(from(index), model.shape)]!);
}

const STEPS = {
  permute: fc.array(fc.nat({ max: 99 }), { minLength: 5, maxLength: 5 }).map((keys): Step => {
    return (state) => {
      const rank = state.model.shape.length;
      const order = Array.from({ length: rank }, (_, axis) => axis)
        .sort((a, b) => keys[a % 5]! - keys[b % 5]!);
      return {
        layout: permuteLayout(state.layout, order),
        model: rearranged(
          state,
          order.map((axis) => state.model.shape[axis]!),
          (index) => index.map((_, axis) => index[order.indexOf(axis)]!),
        ),
      };
    };
  }),
  slice: fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.integer({ min: 1, max: 3 })).map(
    ([a, b, c, step]): Step => (state) => {
      const { shape } = state.model;
      if (shape.length === 0) return state;
      const axis = a % shape.length;
      const size = shape[axis]!;
      const start = b % (size + 1);
      const end = c % (size + 1);
      const kept = Math.ceil(Math.max(0, end - start) / step);
      return {
        layout: sliceLayout(state.layout, axis, start, end, step),
        model: rearranged(
          state,
          shape.with(axis, kept),
          (index) => index.with(axis, start + step * index[axis]!),
        ),
      };
    },
  ),
  select: fc.tuple(fc.nat(), fc.nat()).map(([a, b]): Step => (state) => {
    const { shape } = state.model;
    if (shape.length === 0 || shape.includes(0)) return state;
    const axis = a % shape.length;
    const at = b % shape[axis]!;
    return {
      layout: selectLayout(state.layout, axis, at),
      model: rearranged(state, shape.toSpliced(axis, 1), (index) => index.toSpliced(axis, 0, at)),
    };
  }),
  unsqueeze: fc.nat().map((a): Step => (state) => {
    const { shape } = state.model;
    if (shape.length > 4) return state;
    const axis = a % (shape.length + 1);
    return {
      layout: unsqueezeLayout(state.layout, axis),
      model: rearranged(state, shape.toSpliced(axis, 0, 1), (index) => index.toSpliced(axis, 1)),
    };
  }),
  expand: fc.integer({ min: 0, max: 3 }).map((size): Step => (state) => {
    const { shape } = state.model;
    const wanted = shape.map((own) => own === 1 ? size : own);
    return {
      layout: expandLayout(state.layout, wanted),
      model: rearranged(
        state,
        wanted,
        (index) => index.map((i, axis) => shape[axis] === 1 ? 0 : i),
      ),
    };
  }),
  squeeze: fc.constant<Step>((state) => ({
    layout: squeezeLayout(state.layout),
    model: { ...state.model, shape: state.model.shape.filter((size) => size !== 1) },
  })),
};

/** Layouts as any chain of views makes them. */
const modelled: fc.Arbitrary<Modelled> = fc.tuple(
  fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
  fc.array(fc.oneof(...Object.values(STEPS)), { maxLength: 5 }),
).map(([shape, steps]) => {
  const layout = contiguousLayout(shape);
  const start: Modelled = { layout, model: { shape, data: indices(shape).map((_, i) => i) } };
  return steps.reduce((state, step) => step(state), start);
});

/** A shape of as many elements, by cutting the number into factors and strewing ones. */
function shapeOf(count: number, choices: readonly number[]): number[] {
  const shape: number[] = [];
  let rest = count;
  for (const choice of choices) {
    const divisors = Array.from({ length: rest }, (_, i) => i + 1).filter((d) => rest % d === 0);
    const size = divisors[choice % divisors.length] ?? 0;
    shape.push(size);
    rest = size === 0 ? 0 : rest / size;
  }
  return [...shape, rest];
}

/** The one layout that could put these positions in this shape, if there is any. */
function layoutThrough(at: readonly number[], shape: readonly number[]): Layout | undefined {
  const offset = at[0]!;
  const strides = shape.map((size, axis) =>
    size === 1 ? 0 : at[placeOf(shape.map((_, i) => i === axis ? 1 : 0), shape)]! - offset
  );
  const layout = { shape, strides, offset };
  return positions(layout).every((position, i) => position === at[i]) ? layout : undefined;
}

describe("views of a layout", () => {
  it("put every element where a plain array has it", () => {
    fc.assert(fc.property(modelled, ({ layout, model }) => {
      assertEquals(layout.shape, model.shape);
      assertEquals(positions(layout), model.data);
    }));
  });

  it("are contiguous just when the elements lie one after the other", () => {
    fc.assert(fc.property(modelled, ({ layout, model: { data } }) => {
      if (data.length === 0) return;
      assertEquals(isContiguous(layout), data.every((position, i) => position === data[0]! + i));
    }));
  });
});

describe("reshapeLayout()", () => {
  it("keeps all elements in order, and gives up just where no strides could", () => {
    const choices = fc.array(fc.nat(), { maxLength: 4 });
    fc.assert(
      fc.property(modelled, choices, ({ layout, model: { data } }, list) => {
        const shape = shapeOf(data.length, list);
        const reshaped = reshapeLayout(layout, shape);
        if (data.length === 0) {
          assertEquals(reshaped?.shape, shape);
          return;
        }
        assertEquals(reshaped !== undefined, layoutThrough(data, shape) !== undefined);
        if (!reshaped) return;
        assertEquals(reshaped.shape, shape);
        assertEquals(positions(reshaped), data);
      }),
      { numRuns: 500 },
    );
  });

  it("splits and joins axes, and sees that a transpose cannot be joined", () => {
    const layout = contiguousLayout([4, 6]);
    assertEquals(reshapeLayout(layout, [2, 2, 6])?.strides, [12, 6, 1]);
    assertEquals(reshapeLayout(layout, [24])?.strides, [1]);
    const transposed = permuteLayout(layout, [1, 0]);
    assertEquals(reshapeLayout(transposed, [24]), undefined);
    assertEquals(reshapeLayout(transposed, [3, 2, 4])?.strides, [2, 1, 6]);
  });

  it("keeps a broadcast axis broadcast", () => {
    const layout = expandLayout(contiguousLayout([1, 3]), [4, 3]);
    assertEquals(reshapeLayout(layout, [2, 2, 3])?.strides, [0, 0, 1]);
    assertEquals(reshapeLayout(layout, [12]), undefined);
  });
});

describe("resolveReshape()", () => {
  it("fills in -1", () => {
    assertEquals(resolveReshape([2, 6], [-1, 4]), [3, 4]);
    assertEquals(resolveReshape([0, 6], [-1, 6]), [0, 6]);
    assertEquals(resolveReshape([], [-1]), [1]);
  });

  it("throws RangeError for what does not fit", () => {
    const wrong: [number[], number[], string][] = [
      [[2, 3], [4], "Cannot reshape [2, 3] to [4]: 6 elements do not fit"],
      [[2, 3], [-1, 4], "6 elements do not fit"],
      [[2, 3], [-1, -1], "only one size may be -1"],
      [[0], [-1, 0], "0 elements do not fit"],
      [[4], [-2, -2], "4 elements do not fit"],
      [[2], [0.5, 4], "2 elements do not fit"],
    ];
    for (const [from, to, text] of wrong) {
      assertThrows(() => resolveReshape(from, to), RangeError, text);
    }
  });
});

describe("coalesce()", () => {
  it("visits the same elements of every operand in the same order", () => {
    const three = fc.integer({ min: 0, max: 3 });
    const axes = fc.array(fc.tuple(three, three, three), { maxLength: 4 });
    fc.assert(fc.property(axes, (list) => {
      const shape = list.map(([size]) => size);
      const operands = [list.map(([, stride]) => stride), list.map(([, , stride]) => stride)];
      const joined = coalesce(operands, shape);
      assert(joined.shape.length >= 1);
      operands.forEach((strides, k) => {
        assertEquals(
          positions({ shape: joined.shape, strides: joined.strides[k]!, offset: 0 }),
          positions({ shape, strides, offset: 0 }),
        );
      });
    }));
  });

  it("joins what can be joined and drops axes of size 1", () => {
    assertEquals(coalesce([[12, 4, 1]], [2, 3, 4]), { shape: [24], strides: [[1]] });
    assertEquals(coalesce([[12, 99, 4, 1]], [2, 1, 3, 4]), { shape: [24], strides: [[1]] });
    assertEquals(coalesce([[4, 1], [0, 1]], [3, 4]), {
      shape: [3, 4],
      strides: [[4, 1], [0, 1]],
    });
    assertEquals(coalesce([[]], []), { shape: [1], strides: [[1]] });
    assertEquals(numel(coalesce([[5, 1]], [0, 5]).shape), 0);
  });
});

describe("errors of views", () => {
  const layout = contiguousLayout([2, 3]);

  it("are RangeError for axes and indices out of range", () => {
    const wrong: [() => unknown, string][] = [
      [() => permuteLayout(layout, [0, 0]), "order [0, 0] does not name each of 2 axes once"],
      [() => permuteLayout(layout, [0]), "order [0] does not name each of 2 axes once"],
      [() => permuteLayout(layout, [0, 2]), "axis 2 is out of range"],
      [() => sliceLayout(layout, 1, 0, 4, 1), "end is 4, expected a whole number from -3 to 3"],
      [() => sliceLayout(layout, 1, -4, 3, 1), "start is -4, expected a whole number from -3 to 3"],
      [() => sliceLayout(layout, 1, 0.5, 3, 1), "start is 0.5"],
      [() => sliceLayout(layout, 1, 0, 3, 0), "step is 0, expected a whole number >= 1"],
      [() => sliceLayout(layout, 1, 0, 3, -1), "step is -1, expected a whole number >= 1"],
      [() => selectLayout(layout, 0, 2), "index 2 is out of range for axis 0 of shape [2, 3]"],
      [() => selectLayout(layout, 0, -3), "index -3 is out of range"],
      [() => squeezeLayout(layout, 0), "axis 0 of shape [2, 3] has size 2, expected 1"],
      [
        () => unsqueezeLayout(contiguousLayout(new Array(8).fill(1)), 0),
        "a tensor has at most 8 axes",
      ],
    ];
    for (const [fn, text] of wrong) assertThrows(fn, RangeError, text);
  });

  it("are RangeError for an expansion that would drop or repeat elements", () => {
    for (const shape of [[], [3], [4, 3], [2, 1], [2, -2], [-1, 2, 3], [2, 3, 1]]) {
      assertThrows(
        () => expandLayout(layout, shape),
        RangeError,
        `Cannot expand shape [2, 3] to [${shape.join(", ")}]`,
      );
    }
    assertEquals(expandLayout(layout, [4, -1, 3]).strides, [0, 3, 1]);
  });
});
