/** What came back of tests that ran elsewhere, as steps of a test here. */
import { assertGreaterOrEqual } from "@std/assert";
import type { Outcome } from "./harness.ts";

/** The part of Deno's context that is used. */
interface Steps {
  step(
    definition: { name: string; ignore: boolean; fn: () => void },
  ): Promise<boolean>;
}

/**
 * Asserts that all tests of a file passed, and that none is missing.
 *
 * @param t The test whose steps they become.
 * @param declared How many tests the file declares, see `declaredTests()`.
 * @param outcomes How its tests went.
 */
export async function reportOutcomes(
  t: Steps,
  declared: number,
  outcomes: readonly Outcome[],
): Promise<void> {
  for (const { path, status, error } of outcomes) {
    await t.step({
      name: path.join(" > "),
      ignore: status === "ignored",
      fn: () => {
        // Its stack leads into the bundle; its text is the one of the assertion there.
        if (status === "failed") throw new Error(error);
      },
    });
  }
  assertGreaterOrEqual(outcomes.length, declared, "tests that ran, and those declared");
}
