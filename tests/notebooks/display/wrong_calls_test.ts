/** Wrong calls of what notebooks show: none is accepted, and each error says what is wrong. */
import * as library from "@denoformers/attention";
import * as notebook from "@denoformers/attention/notebook";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import { faultOfCall, wrongCalls } from "../../_wrong_calls.ts";
import { actionsOf } from "../../_wrong_calls_own.ts";
import { NOTEBOOK_ENTRIES } from "./_entries.ts";

const device = await sharedDevice();

/** They take no options, and have tests of their own. */
const EXCUSED = ["markdown", "progress", "usePlotly"];

describe("a wrong call", () => {
  for (const entry of NOTEBOOK_ENTRIES) {
    it(`of ${entry.name} is refused by name`, async () => {
      const right = entry.right(device);
      const calls = await wrongCalls(entry, right, actionsOf(entry.name), device, device);
      const faults = await Promise.all(calls.map((call) => faultOfCall(call, device)));
      assertEquals(faults.filter((fault) => fault !== undefined), []);
    });
  }

  it("is there for every helper", () => {
    const names = [...NOTEBOOK_ENTRIES.map(({ name }) => name), ...EXCUSED].sort();
    assertEquals(Object.keys(notebook).filter((name) => !(name in library)).sort(), names);
  });
});
