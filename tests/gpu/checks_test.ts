import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  assertArguments,
  checkedOptions,
  checkedRecord,
  limitArguments,
  type OptionNames,
} from "../../gpu/checks.ts";

interface Options {
  attnBias?: unknown;
  axis?: number | undefined;
  keepDim?: boolean;
  seed?: number;
}

const NAMES: OptionNames<Options> = {
  attnBias: "Bias",
  axis: "number list",
  keepDim: "boolean",
  seed: "",
};

class Bias {}
class CausalMask extends Bias {}

// @ts-expect-error: a name of the interface that the table lacks does not compile
const _FORGOTTEN: OptionNames<Options> = { attnBias: "", axis: "", keepDim: "" };

const check = (options: unknown) => checkedOptions("run f", options as Options, NAMES);

describe("checkedOptions()", () => {
  it("gives plain objects of known names back", () => {
    const legal: Options[] = [
      {},
      { axis: undefined },
      Object.freeze({ axis: 1, keepDim: true, seed: 0, attnBias: null }),
      Object.assign(Object.create(null), { axis: 1 }),
      { [Symbol("note")]: 1, axis: 1 } as Options,
    ];
    for (const options of legal) assertStrictEquals(check(options), options);
  });

  it("reads no value", () => {
    const options = Object.defineProperty({}, "axis", {
      enumerable: true,
      get: () => {
        throw new Error("read");
      },
    });
    assertStrictEquals(check(options), options);
  });

  it("minds no script that puts names into the prototype of all objects", () => {
    const prototype = Object.prototype as { polluted?: number };
    prototype.polluted = 1;
    try {
      check({ axis: 1 });
      assertThrows(() => check({ polluted: 1 }), TypeError, '"polluted"');
    } finally {
      delete prototype.polluted;
    }
  });

  const UNKNOWN: readonly (readonly [name: string, advice: string])[] = [
    ["attn_bias", "did you mean attnBias?"],
    ["attnMask", "did you mean attnBias?"],
    ["atnBias", "did you mean attnBias?"],
    ["is_causal", "did you mean attnBias: new LowerTriangularMask()?"],
    ["dim", "did you mean axis?"],
    ["Axis", "did you mean axis?"],
    ["axsi", "known are attnBias, axis, keepDim, seed"],
    ["axiss", "did you mean axis?"],
    ["keep_dims", "did you mean keepDim?"],
    ["softcap", "scores are not capped"],
    ["device", "tensors live on the device that makes them"],
    ["lr", "known are attnBias, axis, keepDim, seed"],
    ["constructor", "known are attnBias, axis, keepDim, seed"],
    ["__proto__", "known are attnBias, axis, keepDim, seed"],
    ["", "known are attnBias, axis, keepDim, seed"],
  ];
  for (const [name, advice] of UNKNOWN) {
    it(`refuses "${name}"`, () => {
      const { message } = assertThrows(
        () => check(Object.fromEntries([["seed", 1], [name, undefined]])),
        TypeError,
      );
      assertEquals(
        message,
        `Cannot run f: options have "${name}", which is not known; ${advice}`,
      );
    });
  }

  const any = "an object with any of attnBias, axis, keepDim, seed";
  const MISPLACED: readonly (readonly [value: unknown, text: string])[] = [
    [null, `options are null, expected ${any}`],
    [undefined, `options are undefined, expected ${any}`],
    [new CausalMask(), "a CausalMask stands where options are expected; write { attnBias: mask }"],
    [new Bias(), "a Bias stands where options are expected; write { attnBias: bias }"],
    [0, "0 stands where options are expected; write { axis: 0 }"],
    [[0, -1], "a list of 2 stands where options are expected; write { axis: [0, -1] }"],
    [[{}], "a list of 1 stands where options are expected; write { axis: list }"],
    [
      new Float32Array(1),
      "a Float32Array stands where options are expected; write { axis: list }",
    ],
    [true, "true stands where options are expected; write { keepDim: true }"],
    ["f16", `"f16" stands where options are expected; write ${any}`],
    [() => 1, `a function stands where options are expected; write ${any}`],
    [new Map(), `a Map stands where options are expected; write ${any}`],
    [new ArrayBuffer(1), `an ArrayBuffer stands where options are expected; write ${any}`],
    [Object.create({ axis: 1 }), `an Object stands where options are expected; write ${any}`],
    [
      Promise.resolve({}),
      "a Promise that was not awaited stands where options are expected; await it",
    ],
    [
      Symbol.iterator,
      `Symbol(Symbol.iterator) stands where options are expected; write ${any}`,
    ],
    [1n, `1n stands where options are expected; write ${any}`],
  ];
  for (const [value, text] of MISPLACED) {
    it(`tells what to write where ${text.split(";")[0]}`, () => {
      const { message } = assertThrows(() => check(value), TypeError);
      assertEquals(message, `Cannot run f: ${text}`);
    });
  }
});

describe("assertArguments()", () => {
  it("names the first argument too many, and what to write", () => {
    assertArguments("run f", [1, 2], 2);
    const { message } = assertThrows(
      () => assertArguments("run f", [1, 2, "f16", 4], 2),
      TypeError,
    );
    assertEquals(message, 'Cannot run f: argument 3 is "f16", expected at most 2; leave it out');
    const none = assertThrows(() => assertArguments("run f", [true], 0, "write g()"), TypeError);
    assertEquals(none.message, "Cannot run f: argument 1 is true, expected none; write g()");
  });
});

describe("limitArguments()", () => {
  class Base {
    readonly factor = 2;
    scale(x: number, by = 1): number {
      return x * by * this.factor;
    }
    toString(): string {
      return "base";
    }
    toJSON(): string {
      return "json";
    }
    get half(): number {
      return this.factor / 2;
    }
    static make(): Base {
      return new this();
    }
    static {
      limitArguments(this, { scale: [2, "multiply by hand"] });
    }
  }
  class Derived extends Base {
    override scale(x: number, by = 1, plus = 0): number {
      return super.scale(x, by) + plus;
    }
  }
  // deno-lint-ignore no-explicit-any -- calls that are wrong have no type
  const [base, wrong] = [Base.make(), Base as any];

  it("keeps what methods do, and getters", () => {
    assertEquals([base.scale(3), base.scale(3, 4), base.half, `${base}`], [6, 24, 1, "base"]);
    assertEquals([base.scale.name, Object.keys(base)], ["scale", ["factor"]]);
  });

  it("refuses more arguments of methods and static ones", () => {
    const text = "Cannot scale: argument 3 is 1, expected at most 2; multiply by hand";
    assertThrows(() => wrong.prototype.scale(1, 1, 1), TypeError, text);
    assertThrows(() => wrong.make(1), TypeError, "argument 1 is 1, expected none");
  });

  it("leaves alone what a class that extends it defines, and toJSON, which gets a key", () => {
    assertEquals(new Derived().scale(1, 2, 3), 7);
    assertEquals(JSON.stringify({ base }), '{"base":"json"}');
  });
});

describe("checkedRecord()", () => {
  it("takes plain objects of any names, and nothing else", () => {
    const record = { "blocks.0.weight": 1 };
    assertStrictEquals(checkedRecord("load", "state", record), record);
    for (const other of [null, undefined, [], new Map(), new Bias(), 1]) {
      assertThrows(() => checkedRecord("load", "state", other as object), TypeError, "state is ");
    }
  });
});
