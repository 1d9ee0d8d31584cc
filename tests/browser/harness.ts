/**
 * Runs bundles of test files in a page, or in Node. It is a bundle of its own, loaded before them.
 *
 * @module
 */
import { type Outcome, TestDeno } from "./shims/deno.ts";

export type { Outcome };

/**
 * Makes the realm ready for bundles of test files.
 *
 * @param fixtures What the files in `tests/fixtures/` hold, by their names.
 * @returns Loads the bundle at an address, runs its tests, and gives how each went.
 */
export function prepareTests(
  fixtures: ReadonlyMap<string, Uint8Array<ArrayBuffer>>,
): (url: string) => Promise<Outcome[]> {
  const testDeno = new TestDeno(fixtures);
  // The name that `bundle.ts` puts in the scope of the tests' modules as `Deno`.
  Object.assign(globalThis, { denoformersTestDeno: testDeno });
  return async (url) => {
    await import(url);
    return await testDeno.run();
  };
}

/**
 * The same in a page, with the fixtures from the page's server.
 *
 * @param names Names of the fixtures.
 */
export async function prepareTestsInPage(
  names: readonly string[],
): Promise<(url: string) => Promise<Outcome[]>> {
  const fixtures = names.map(async (name) => {
    const response = await fetch(`/fixtures/${name}`);
    return [name, new Uint8Array(await response.arrayBuffer())] as const;
  });
  return prepareTests(new Map(await Promise.all(fixtures)));
}
