import { Listener } from "../../../notebooks/display/listener.ts";
import { assertEquals } from "@std/assert";
import { afterEach, beforeEach, describe, it } from "@std/testing/bdd";

/** A publisher on a thread of its own, as this one is blocked: sends what it is posted, once there is a subscriber. */
const PUBLISHER = `
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  postMessage(listener.addr.port);
  const connection = listener.accept().then(async (accepted) => {
    let size = 64 + 2 + 25 + 3; // Greeting, command and subscription.
    while (size > 0) size -= await accepted.read(new Uint8Array(size));
    return accepted;
  });
  onmessage = async ({ data }) => {
    if (data === "") (await connection).close();
    else await (await connection).write(new TextEncoder().encode(data));
  };`;

describe("Listener", () => {
  let publisher: Worker;
  let port: number;

  beforeEach(async () => {
    const url = `data:text/javascript,${encodeURIComponent(PUBLISHER)}`;
    publisher = new Worker(url, { type: "module" });
    port = await new Promise((done) => publisher.onmessage = ({ data }) => done(data));
  });

  afterEach(() => publisher.terminate());

  const cases = [
    { name: "blocks until the mark was sent", posted: "0123 mark 4567", expected: true },
    { name: "gives up when the publisher goes", posted: "", expected: false },
  ];
  for (const { name, posted, expected } of cases) {
    it(name, () => {
      using listener = new Listener({ hostname: "127.0.0.1", port });
      const isSent = listener.waitForMark("mark", () => publisher.postMessage(posted));
      assertEquals(isSent, expected);
    });
  }
});
