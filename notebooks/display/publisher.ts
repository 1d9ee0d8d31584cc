/**
 * Listens to what the kernel publishes, to know when it has sent something.
 *
 * The kernel's own thread takes messages from a queue and sends each to every subscriber in turn, so a
 * message that reaches the subscriber who came last has reached all others, and so have all messages
 * before it. Subscribers speak ZeroMQ's protocol, of which a few constant bytes are enough here:
 * https://rfc.zeromq.org/spec/23/
 */

/** How long a silent publisher is waited for, in milliseconds. */
const SILENCE_MS = 2000;
/**
 * After how long the mark is sent again, as it may have come before the subscription; then after twice as
 * long, and so on up to the second time.
 */
const REPEAT_MS = [2, 256] as const;

/** A subscriber's greeting, which needs no answer: signature, version 3.0, no security. */
const GREETING = Uint8Array.of(0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, ...padded("NULL", 52));
/** The command that follows the greeting, and names the kind of socket. */
const READY = frame(4, [
  ...prefixed("READY"),
  ...prefixed("Socket-Type"),
  0,
  0,
  0,
  ...prefixed("SUB"),
]);
/** A message of one byte, 1: subscribes to all that begins with nothing. */
const SUBSCRIBE = frame(0, [1]);

/** Where a kernel publishes. */
export interface Publisher {
  readonly hostname: string;
  readonly port: number;
}

/**
 * Where the kernel of this process publishes, as told by the file that its command line names;
 * undefined where that cannot be found out, as on Windows.
 */
export function findPublisher(): Publisher | undefined {
  try {
    const [, file] = /--conn[ =\0]([^\0\n]+)/.exec(commandLine()) ?? [];
    if (file === undefined) return undefined;
    const { ip, transport, iopub_port: port } = JSON.parse(Deno.readTextFileSync(file));
    if (transport !== "tcp" || typeof port !== "number") return undefined;
    return { hostname: ip === "*" || ip === "0.0.0.0" ? "127.0.0.1" : ip, port };
  } catch {
    return undefined;
  }
}

/** This process's command line, with zeros or spaces between the arguments. */
function commandLine(): string {
  if (Deno.build.os === "linux") return Deno.readTextFileSync("/proc/self/cmdline");
  const { stdout } = new Deno.Command("ps", {
    args: ["-ww", "-o", "args=", "-p", `${Deno.pid}`],
  }).outputSync();
  return new TextDecoder().decode(stdout);
}

/**
 * Waits until the publisher has sent a mark to all subscribers.
 *
 * @param publisher Where to listen.
 * @param mark A text of ASCII letters that is in no other message.
 * @param send Makes the publisher send a message with the mark in it; called until it arrives.
 * @param options `silence`: after how many milliseconds without a byte to give up.
 * @returns Whether it arrived.
 */
export async function waitForMark(
  publisher: Publisher,
  mark: string,
  send: () => void,
  { silence = SILENCE_MS }: { silence?: number } = {},
): Promise<boolean> {
  using connection = await Deno.connect(publisher);
  let heard = performance.now();
  let delay: number = REPEAT_MS[0];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const sendAgain = () => {
    if (performance.now() - heard > silence) return connection.close(); // Ends the read below.
    send();
    timer = setTimeout(sendAgain, delay);
    delay = Math.min(delay * 2, REPEAT_MS[1]);
  };
  try {
    connection.setNoDelay();
    await writeAll(connection, Uint8Array.of(...GREETING, ...READY, ...SUBSCRIBE));
    sendAgain();
    const decoder = new TextDecoder("latin1");
    const buffer = new Uint8Array(65_536);
    let tail = "";
    for (let size; (size = await connection.read(buffer)) !== null;) {
      heard = performance.now();
      const text = tail + decoder.decode(buffer.subarray(0, size));
      if (text.includes(mark)) return true;
      tail = text.slice(-mark.length);
      // To say anything acknowledges what came; TCP by itself would let the kernel wait 40 ms for that.
      await writeAll(connection, SUBSCRIBE);
    }
    return false;
  } finally {
    clearTimeout(timer);
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

function frame(flags: number, body: readonly number[]): Uint8Array {
  return Uint8Array.of(flags, body.length, ...body);
}

function prefixed(text: string): number[] {
  return [text.length, ...new TextEncoder().encode(text)];
}

function padded(text: string, size: number): number[] {
  const bytes = [...new TextEncoder().encode(text)];
  return [...bytes, ...Array(size - bytes.length).fill(0)];
}
