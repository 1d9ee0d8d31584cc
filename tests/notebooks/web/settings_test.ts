import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  BUDGETS,
  DTYPES,
  type Fields,
  HEADS,
  lengthsUpTo,
  LONGEST,
  type MaskName,
  MASKS,
  parseSettings,
  type Settings,
  SettingsError,
  SHORTEST,
} from "../../../notebooks/web/settings.ts";

const FIELDS: Fields = {
  longest: " 2048 ",
  heads: "8",
  mask: "causal",
  dtype: "bf16",
  isTraining: "true",
  budget: String(2 ** 30),
};

describe("parseSettings()", () => {
  it("reads what the form says", () => {
    assertEquals(parseSettings(FIELDS), {
      longest: 2048,
      heads: 8,
      mask: "causal",
      dtype: "bf16",
      isTraining: true,
      budget: 2 ** 30,
    });
  });

  it("takes everything that the form offers", () => {
    const offered: [keyof Settings, readonly unknown[]][] = [
      ["longest", [SHORTEST, 300, LONGEST]],
      ["heads", HEADS],
      ["mask", Object.keys(MASKS)],
      ["dtype", DTYPES],
      ["isTraining", [true, false]],
      ["budget", BUDGETS],
    ];
    for (const [field, values] of offered) {
      for (const value of values) {
        assertEquals(parseSettings({ ...FIELDS, [field]: String(value) })[field], value);
      }
    }
  });

  it("names the field that says nothing that can be measured", () => {
    const wrong: Record<keyof Settings, readonly string[]> = {
      longest: ["", "0", "-256", "255", "262145", "1e4", "0x400", "512.5", "∞", "٢٥٦٠"],
      heads: ["", "0", "3", "8.0"],
      mask: ["", "constructor", "__proto__", "NONE"],
      dtype: ["", "f64", "i32"],
      isTraining: ["", "1"],
      budget: ["", "1", "Infinity"],
    };
    for (const [field, texts] of Object.entries(wrong)) {
      for (const text of texts) {
        const error = assertThrows(
          () => parseSettings({ ...FIELDS, [field]: text }),
          SettingsError,
          `is "${text}", expected`,
        );
        assertEquals(error.field, field);
      }
    }
  });
});

describe("lengthsUpTo()", () => {
  it("doubles, and ends with the longest", () => {
    assertEquals(lengthsUpTo(256), [256]);
    assertEquals(lengthsUpTo(1024), [256, 512, 1024]);
    assertEquals(lengthsUpTo(1025), [256, 512, 1024, 1025]);
  });
});

describe("the masks of the page", () => {
  for (const name of Object.keys(MASKS) as MaskName[]) {
    it(`show what the page says: ${name}`, () => {
      const { maskFor, seenBy } = MASKS[name];
      // Beyond the window and the packed sequences, and no multiple of them.
      for (const tokens of [256, 600]) {
        const bias = maskFor(tokens)?.materialize([tokens, tokens]);
        for (let query = 0; query < tokens; query++) {
          const [begin, end] = seenBy(query, tokens);
          for (let key = 0; key < tokens; key++) {
            const isSeen = (bias?.[query * tokens + key] ?? 0) === 0;
            assertEquals(isSeen, begin <= key && key < end, `query ${query}, key ${key}`);
          }
        }
      }
    });
  }
});
