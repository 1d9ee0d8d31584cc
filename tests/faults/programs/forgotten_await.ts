/** A test that forgets to wait for a comparison of tensors that differ. Run by `deno test`. */
import { requestDevice } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";

const device = await requestDevice({ tune: false });

Deno.test("forgets to wait", () => {
  assertAllClose(device.tensor([1, 2]), device.tensor([1, 3]));
});
