// deno-lint-ignore-file no-console -- what is printed is counted
import {
  Flush,
  type Internals,
  runningKernel,
  type Scope,
  SHOWN,
} from "../../../notebooks/display/flush.ts";
import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** A flush that waits by time, with nothing to wait for. */
function timedFlush(): Flush {
  return new Flush({ broadcast: () => {} }, undefined);
}

/** Internals that note what they are given. */
function fakeInternals(): Internals & { readonly values: unknown[] } {
  const values: unknown[] = [];
  return {
    values,
    broadcastResult: (count, value) => Promise.resolve(void values.push([count, value])),
  };
}

/** A global scope that can be spoilt. */
function fakeScope(): Scope & { readonly ends: (() => void)[] } {
  const ends: (() => void)[] = [];
  return {
    ends,
    JSON: { stringify: JSON.stringify },
    addEventListener: (_, listener) => void ends.push(listener),
  };
}

/** How long something takes, in milliseconds. */
function timeOf(run: () => unknown): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

describe("runningKernel()", () => {
  it("is undefined outside of a kernel", () => {
    assertEquals(runningKernel(), undefined);
  });
});

describe("Flush", () => {
  it("waits longer the more was printed and displayed", () => {
    const { log, info, debug, warn, error } = console;
    console.log = () => {};
    try {
      const flush = timedFlush();
      for (let n = 0; n < 25; n++) {
        console.log(n);
        flush.count();
      }
      const start = performance.now();
      flush.wait();
      // 50 ms, and 1 ms for each of 50 messages; timers may be a millisecond early.
      assertGreaterOrEqual(performance.now() - start, 99);
    } finally {
      Object.assign(console, { log, info, debug, warn, error });
    }
  });

  it("waits by time where the publisher cannot be reached", () => {
    const sent: string[] = [];
    const port = unusedPort();
    const kernel = { broadcast: (type: string) => void sent.push(type) };
    const flush = new Flush(kernel, { hostname: "127.0.0.1", port });
    const start = performance.now();
    flush.wait();
    assertGreaterOrEqual(performance.now() - start, 49);
    assertEquals(sent, []);
  });

  it("makes the kernel wait after it has sent a value, once", async () => {
    const internals = fakeInternals();
    timedFlush().install(internals, fakeScope());
    const { broadcastResult } = internals;
    timedFlush().install(internals, fakeScope());
    assert(internals.broadcastResult === broadcastResult);
    const start = performance.now();
    await internals.broadcastResult(3, "value");
    assertGreaterOrEqual(performance.now() - start, 49);
    assertEquals(internals.values, [[3, "value"]]);
  });

  it("waits when the kernel asks what was thrown, and when the kernel ends", () => {
    const scope = fakeScope();
    timedFlush().install(fakeInternals(), scope);
    const { stringify } = scope.JSON;
    const thrown = { name: "Error", message: "m", stack: "s" };
    assertGreaterOrEqual(
      timeOf(() => assertEquals(stringify(thrown), '{"name":"Error","message":"m","stack":"s"}')),
      49,
    );
    for (const end of scope.ends) assertGreaterOrEqual(timeOf(end), 49);
    assertEquals(scope.ends.length, 1);
    const others: Parameters<typeof stringify>[] = [
      [{ name: "a", message: "b" }],
      [thrown, null, 2],
      [["name", "message", "stack"]],
      [undefined],
      [null],
    ];
    // Each would take 50 ms.
    assertLess(timeOf(() => others.map((parameters) => stringify(...parameters))), 150);
    assertEquals(stringify([1, 2], null, 1), "[\n 1,\n 2\n]");
  });

  it("shows nothing for a value that has shown itself", async () => {
    const internals = fakeInternals();
    timedFlush().install(internals, fakeScope());
    await internals.broadcastResult(1, { [SHOWN]: true });
    await internals.broadcastResult(2, null);
    assertEquals(internals.values, [[1, undefined], [2, null]]);
  });

  it("leaves what the kernel throws, and internals of another make, as they are", async () => {
    const failing: Internals = { broadcastResult: () => Promise.reject(new Error("kernel's own")) };
    timedFlush().install(failing, fakeScope());
    await assertRejects(() => failing.broadcastResult(1, 2), Error, "kernel's own");
    timedFlush().install(undefined, fakeScope());
    const other = { broadcastResult: 5 } as unknown as Internals;
    timedFlush().install(other, fakeScope());
    assertEquals(other.broadcastResult as unknown, 5);
  });
});

function unusedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
