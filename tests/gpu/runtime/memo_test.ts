import { memo } from "../../../gpu/runtime/memo.ts";
import { assertEquals } from "@std/assert";
import { it } from "@std/testing/bdd";

it("memo() calls a function once for each list of arguments", () => {
  const calls: string[] = [];
  const described = memo((n: number, name: string) => {
    calls.push(name);
    return `${name} ${n}`;
  });
  assertEquals([described(1, "a"), described(2, "a"), described(1, "a")], ["a 1", "a 2", "a 1"]);
  assertEquals(calls, ["a", "a"]);
});
