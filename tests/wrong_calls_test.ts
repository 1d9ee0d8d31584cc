/** Wrong calls that users of PyTorch and xformers make: none is accepted, and each error says what is wrong. */
import * as everything from "@denoformers/attention";
import { type Device, requestDevice, Tensor } from "@denoformers/attention";
import * as testing from "@denoformers/attention/testing";
import { assertEquals, assertGreaterOrEqual } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "./_device.ts";
import { COVERED, EXCUSED } from "./fuzz/_covered.ts";
import { ENTRIES } from "./fuzz/_entries.ts";
import { publicNames } from "./fuzz/_public.ts";
import { faultOfCall, wrongCalls } from "./_wrong_calls.ts";
import { actionsOf, OTHER_CALLS, OWN_CALLS } from "./_wrong_calls_own.ts";
import { MASK_ENTRIES } from "./_wrong_calls_masks.ts";

const device = await sharedDevice();
const other = await requestDevice({ tune: false });
const entries = [...ENTRIES, ...MASK_ENTRIES];

/** How many wrong calls each function has, at least. */
const LEAST = 20;

/** What takes nothing that could be wrong. */
const WITHOUT_ARGUMENTS = ["LowerTriangularMask", "LowerTriangularFromBottomRightMask"];

/** Functions of one argument may be given to `map`, which passes more; others are called with more by design. */
const IGNORES_MORE = [
  "Device.toJSON",
  "TensorBase.toJSON",
  "alibiSlopes",
  "checkpoint",
  "customFunction",
  "isGradEnabled",
  "listSafetensors",
  "noGrad",
  "parameter",
  "readSafetensorsMetadata",
  "requestDevice",
  "tidy",
];

describe("a wrong call", () => {
  for (const entry of entries) {
    it(`of ${entry.name} is refused by name`, async () => {
      const actions = actionsOf(entry.name);
      const right = entry.right(device);
      const own = (OWN_CALLS[entry.name] ?? []).map(([says, call]) => ({
        text: String(call),
        call: (device: Device) => call(device, device.ones([1, 4, 2, 8])),
        says: [actions, [says]],
      }));
      const calls = [...await wrongCalls(entry, right, actions, device, other), ...own];
      const faults = await Promise.all(calls.map((call) => faultOfCall(call, device)));
      for (const value of Object.values(right).flat()) {
        if (value instanceof Tensor) value.dispose();
      }
      assertEquals(faults.filter((fault) => fault !== undefined), []);
      assertGreaterOrEqual(calls.length, LEAST);
    });
  }

  for (const [says, call] of OTHER_CALLS) {
    it(`is refused, and the error says: ${says}`, async () => {
      const wrong = { text: String(call), says: [[says]] };
      const x = device.ones([1, 4, 2, 8]);
      const fault = await faultOfCall({ ...wrong, call: () => call(device, x) }, device);
      x.dispose();
      assertEquals(fault, undefined);
    });
  }

  it("has no argument that is ignored", async () => {
    const names = publicNames();
    const refused = await Promise.all(names.map(refusesMore));
    assertEquals(names.filter((name, i) => !refused[i] && !IGNORES_MORE.includes(name)), []);
  });

  it("is there for every public function and class", () => {
    const named = new Set([...entries.map(({ name }) => name), ...WITHOUT_ARGUMENTS]);
    const missing = publicNames().filter((name) =>
      !(named.has(name) || name in EXCUSED || /Op(\.\w+)?$|_OPS$/.test(name)) &&
      !Object.values(COVERED).some((names) => name.includes(".") && names.includes(name))
    );
    assertEquals(missing, []);
    const unknown = Object.keys(OWN_CALLS).filter((name) => !named.has(name));
    assertEquals(unknown, []);
  });
});

/** Whether a function, a class or a method refuses a call for the number of its arguments; also what none calls. */
async function refusesMore(name: string): Promise<boolean> {
  const [owner, key] = name.split(".") as [string, string?];
  const exported: Readonly<Record<string, unknown>> = { ...everything, ...testing };
  const type = exported[owner];
  if (typeof type !== "function" || /extend|error/.test(EXCUSED[name] ?? "")) return true;
  const given = new Array(20).fill([]);
  try {
    if (key !== undefined) {
      const { value } = Object.getOwnPropertyDescriptor(type, key) ??
        Object.getOwnPropertyDescriptor(type.prototype, key)!;
      if (typeof value !== "function") return true;
      await value.apply(Object.create(type.prototype), given);
    } else if (/^class/.test(String(type))) Reflect.construct(type, given);
    else await type(...given);
  } catch (error) {
    return error instanceof TypeError &&
      /argument \d+ is a list of 0, expected/.test(error.message);
  }
  return false;
}
