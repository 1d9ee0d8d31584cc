import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertExists,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** Throws unless the assertion fails. Uses none of the assertions under test. */
function expectFailure(assertion: () => void): void {
  try {
    assertion();
  } catch (error) {
    if (error instanceof AssertionError) return;
    throw error;
  }
  throw new Error(`Expected the assertion to fail: ${assertion}`);
}

async function expectRejection(assertion: () => Promise<unknown>): Promise<void> {
  try {
    await assertion();
  } catch (error) {
    if (error instanceof AssertionError) return;
    throw error;
  }
  throw new Error(`Expected the assertion to fail: ${assertion}`);
}

describe("@std/assert", () => {
  it("assert() passes on truthy values and fails on falsy ones", () => {
    assert(1);
    assert("a");
    expectFailure(() => assert(0));
    expectFailure(() => assert(""));
    expectFailure(() => assert(null));
  });

  it("assertEquals() compares deeply", () => {
    assertEquals([1, { a: [2, 3] }], [1, { a: [2, 3] }]);
    assertEquals(new Float32Array([1, 2]), new Float32Array([1, 2]));
    assertEquals(new Map([["a", 1]]), new Map([["a", 1]]));
    expectFailure(() => assertEquals([1, { a: [2, 3] }], [1, { a: [2, 4] }]));
    expectFailure(() => assertEquals([1, 2], [1, 2, 3]));
    expectFailure(() => assertEquals<unknown>(1, "1"));
    expectFailure(() => assertEquals<unknown>(undefined, null));
    expectFailure(() => assertEquals<unknown>({ a: undefined }, {}));
    expectFailure(() => assertEquals(new Float32Array([1, 2]), new Float32Array([1, 3])));
    expectFailure(() => assertEquals<unknown>(new Float32Array([1]), new Float64Array([1])));
    expectFailure(() => assertEquals<unknown>(new Float32Array([1]), [1]));
    expectFailure(() => assertEquals(new Map([["a", 1]]), new Map([["a", 2]])));
  });

  it("assertEquals() takes NaN as equal to NaN and 0 as equal to -0", () => {
    assertEquals(NaN, NaN);
    assertEquals([NaN, 0], [NaN, -0]);
    assertEquals({ a: [-0] }, { a: [0] });
    assertEquals(new Float32Array([0, NaN]), new Float32Array([-0, NaN]));
    expectFailure(() => assertEquals([0, 1], [-0, 2]));
    expectFailure(() => assertEquals([NaN], [0]));
  });

  it("assertNotEquals() fails on equal values", () => {
    assertNotEquals([1], [2]);
    expectFailure(() => assertNotEquals([1], [1]));
    expectFailure(() => assertNotEquals({ a: NaN }, { a: NaN }));
  });

  it("assertStrictEquals() compares identity", () => {
    const list = [1];
    assertStrictEquals(list, list);
    assertStrictEquals(NaN, NaN);
    expectFailure(() => assertStrictEquals(list, [1]));
    expectFailure(() => assertStrictEquals(0, -0));
  });

  it("assertThrows() returns the error", () => {
    const error = new RangeError("too long");
    const throwing = (): void => {
      throw error;
    };
    assertStrictEquals(assertThrows(throwing), error);
    assertStrictEquals(assertThrows(throwing, RangeError), error);
    assertStrictEquals(assertThrows(throwing, Error, "long"), error);
  });

  it("assertThrows() fails on no error, another class and another text", () => {
    const throwing = (): void => {
      throw new RangeError("too long");
    };
    expectFailure(() => assertThrows(() => {}));
    expectFailure(() => assertThrows(() => {}, Error));
    expectFailure(() => assertThrows(throwing, TypeError));
    expectFailure(() => assertThrows(throwing, RangeError, "too short"));
    expectFailure(() =>
      assertThrows(() => {
        throw "not an error";
      }, Error)
    );
  });

  it("assertRejects() returns the error", async () => {
    const error = new RangeError("too long");
    const rejecting = (): Promise<never> => Promise.reject(error);
    assertStrictEquals(await assertRejects(rejecting), error);
    assertStrictEquals(await assertRejects(rejecting, RangeError, "long"), error);
  });

  it("assertRejects() fails on no error, another class, another text and a throw", async () => {
    const rejecting = (): Promise<never> => Promise.reject(new RangeError("too long"));
    await expectRejection(() => assertRejects(() => Promise.resolve()));
    await expectRejection(() => assertRejects(() => Promise.resolve(), Error));
    await expectRejection(() => assertRejects(rejecting, TypeError));
    await expectRejection(() => assertRejects(rejecting, RangeError, "too short"));
    await expectRejection(() =>
      assertRejects(() => {
        throw new RangeError("too long");
      }, RangeError)
    );
  });

  it("assertAlmostEquals() obeys the tolerance", () => {
    assertAlmostEquals(1, 1 + 1e-8);
    assertAlmostEquals(1, 1.05, 0.1);
    assertAlmostEquals(NaN, NaN);
    assertAlmostEquals(Infinity, Infinity);
    expectFailure(() => assertAlmostEquals(1, 1 + 1e-6));
    expectFailure(() => assertAlmostEquals(1, 1.2, 0.1));
    expectFailure(() => assertAlmostEquals(1, NaN));
    expectFailure(() => assertAlmostEquals(NaN, 1));
    expectFailure(() => assertAlmostEquals(1, Infinity));
  });

  it("assertStringIncludes(), assertMatch() and assertInstanceOf() fail on a miss", () => {
    assertStringIncludes("attention", "ten");
    assertMatch("attention", /^at+/);
    assertInstanceOf(new TypeError(), Error);
    expectFailure(() => assertStringIncludes("attention", "eleven"));
    expectFailure(() => assertMatch("attention", /^t/));
    expectFailure(() => assertInstanceOf(new Error(), TypeError));
    expectFailure(() => assertInstanceOf(null, Error));
  });

  it("the order assertions fail on the other side, at the bound and on NaN", () => {
    assertGreater(2, 1);
    assertGreaterOrEqual(1, 1);
    assertLess(1, 2);
    assertLessOrEqual(1, 1);
    expectFailure(() => assertGreater(1, 1));
    expectFailure(() => assertGreaterOrEqual(0, 1));
    expectFailure(() => assertLess(1, 1));
    expectFailure(() => assertLessOrEqual(2, 1));
    expectFailure(() => assertLess(NaN, 1));
    expectFailure(() => assertGreaterOrEqual(NaN, 1));
  });

  it("assertExists() fails on null and undefined only", () => {
    assertExists(0);
    assertExists("");
    expectFailure(() => assertExists(null));
    expectFailure(() => assertExists(undefined));
  });

  it("fail() fails", () => {
    expectFailure(() => fail());
    assertThrows(() => fail("on purpose"), AssertionError, "on purpose");
  });
});
