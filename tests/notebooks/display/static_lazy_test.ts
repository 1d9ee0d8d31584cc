import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { lazy } from "../../../notebooks/display/static/lazy.ts";

describe("lazy()", () => {
  it("works at the first need and once", async () => {
    let calls = 0;
    const get = lazy(() => Promise.resolve(++calls));
    assertEquals(calls, 0);
    assertEquals(await Promise.all([get(), get()]), [1, 1]);
    assertEquals(await get(), 1);
  });

  it("works again after a failure", async () => {
    let calls = 0;
    const get = lazy(() =>
      ++calls === 1 ? Promise.reject(new Error("no network")) : Promise.resolve(calls)
    );
    await assertRejects(get, Error, "no network");
    assertEquals(await get(), 2);
  });
});
