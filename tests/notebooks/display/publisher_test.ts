import { findPublisher, waitForMark } from "../../../notebooks/display/publisher.ts";
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const MARK = "mark-0123456789";

/** A publisher as the kernel is: reads what a subscriber has to say, then does what it is told. */
async function withSubscriber<T>(
  publish: (connection: Deno.TcpConn) => unknown,
  subscribe: (publisher: { hostname: string; port: number }) => Promise<T>,
): Promise<{ result: T; heard: Uint8Array }> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const heard = new Uint8Array(64 + 2 + 25 + 3); // Greeting, command and subscription.
  const serve = async () => {
    using connection = await listener.accept();
    for (let at = 0; at < heard.length;) at += await connection.read(heard.subarray(at)) ?? 0;
    await publish(connection);
    // Until the subscriber goes, which may be by a reset as it leaves things unread.
    await connection.readable.pipeTo(new WritableStream()).catch(() => {});
  };
  const { port } = listener.addr as Deno.NetAddr;
  const [result] = await Promise.all([subscribe({ hostname: "127.0.0.1", port }), serve()]);
  return { result, heard };
}

function write(connection: Deno.Conn, text: string): Promise<number> {
  return connection.write(new TextEncoder().encode(text));
}

describe("waitForMark()", () => {
  it("says what a subscriber to everything has to say", async () => {
    const { result, heard } = await withSubscriber(
      (connection) => write(connection, MARK),
      (publisher) => waitForMark(publisher, MARK, () => {}),
    );
    assert(result);
    const text = (from: number, to: number) => new TextDecoder().decode(heard.subarray(from, to));
    assertEquals([heard[0], heard[9], heard[10], heard[11]], [0xff, 0x7f, 3, 0]);
    assertEquals(text(12, 17), "NULL\0");
    assertEquals(text(64, 91), "\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
    assertEquals(text(91, 94), "\0\x01\x01");
  });

  it("finds a mark that comes in two pieces, behind much else", async () => {
    const { result } = await withSubscriber(async (connection) => {
      await connection.write(new Uint8Array(1_000_000));
      await write(connection, MARK.slice(0, 5));
      await new Promise((done) => setTimeout(done, 20));
      await write(connection, MARK.slice(5));
    }, (publisher) => waitForMark(publisher, MARK, () => {}));
    assert(result);
  });

  it("sends the mark again until it arrives", async () => {
    let sent = 0;
    let subscribed: Deno.Conn | undefined;
    const { result } = await withSubscriber(
      (connection) => void (subscribed = connection),
      (publisher) =>
        waitForMark(publisher, MARK, () => {
          sent++;
          if (sent >= 4 && subscribed) write(subscribed, MARK);
        }),
    );
    assert(result);
    assert(sent >= 4);
  });

  it("gives up when the publisher is silent, or goes", async () => {
    const start = performance.now();
    const silent = await withSubscriber(
      () => {},
      (publisher) => waitForMark(publisher, MARK, () => {}, { silence: 30 }).catch(() => false),
    );
    assertEquals(silent.result, false);
    assertLess(performance.now() - start, 2000); // 30 ms, and a pause of a busy computer.
    const gone = await withSubscriber(
      (connection) => connection.closeWrite(),
      (publisher) => waitForMark(publisher, MARK, () => {}),
    );
    assertEquals(gone.result, false);
  });

  it("throws where nobody listens", async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    listener.close();
    await assertRejects(() => waitForMark({ hostname: "127.0.0.1", port }, MARK, () => {}));
  });
});

describe("findPublisher()", () => {
  it("finds none in a process that is no kernel", () => {
    assertEquals(findPublisher(), undefined);
  });

  it("finds what the file of the command line tells", async () => {
    const file = await Deno.makeTempFile({ prefix: "kernel connection", suffix: ".json" });
    try {
      const module = new URL("../../../notebooks/display/publisher.ts", import.meta.url);
      const script = `import { findPublisher } from "${module}";
        console.log(JSON.stringify(findPublisher() ?? null));`;
      const answers = [];
      for (const ip of ["127.0.0.1", "*"]) {
        await Deno.writeTextFile(file, JSON.stringify({ ip, transport: "tcp", iopub_port: 5 }));
        const url = `data:application/typescript,${encodeURIComponent(script)}`;
        const { stdout } = await new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "--no-lock", "--no-check", url, "--conn", file],
          stderr: "inherit",
        }).output();
        answers.push(JSON.parse(new TextDecoder().decode(stdout)));
      }
      const expected = { hostname: "127.0.0.1", port: 5 };
      assertEquals(answers, Deno.build.os === "windows" ? [null, null] : [expected, expected]);
    } finally {
      await Deno.remove(file);
    }
  });
});
