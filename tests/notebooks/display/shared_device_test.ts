import { sharedDevice } from "../../../notebooks/display/shared_device.ts";
import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("sharedDevice()", () => {
  it("is one device, also for calls at the same time, until that is disposed", async () => {
    const options = { tune: false };
    const [first, second] = await Promise.all([sharedDevice(options), sharedDevice(options)]);
    assertStrictEquals(first, second);
    assertStrictEquals(await sharedDevice(), first);
    first.dispose();
    const other = await sharedDevice({ tune: false, subgroups: false });
    assert(other !== first);
    assertEquals(other.info.subgroupSize, 0);
    await assertRejects(
      () => sharedDevice(options),
      RangeError,
      'options is {"tune":false}, expected {"tune":false,"subgroups":false}',
    );
    other.dispose();
  });

  it("can be called again after a request that failed", async () => {
    await assertRejects(() => sharedDevice({ tune: 5 as never }), TypeError);
    const device = await sharedDevice({ tune: false });
    assertEquals(await device.tensor([1]).toArray(), [1]);
    device.dispose();
  });
});
