/** The Deno kernel: whether this code runs in it, and messages to whoever shows the notebook. */
import { Flush, runningKernel } from "./flush.ts";
import { findPublisher } from "./publisher.ts";

/** What is shown: contents by MIME type, of which a front end takes the richest that it knows. */
export type MimeBundle = Readonly<Record<string, unknown>>;

/** Options of {@linkcode display}. */
export interface DisplayOptions {
  /** A name by which the display can be replaced later. */
  readonly id?: string | undefined;
  /** Whether to replace what was shown under `id`, wherever that is, rather than to show more. */
  readonly update?: boolean | undefined;
  /** By MIME type, such as `{ "image/png": { width: 300 } }`. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/** A message as Jupyter's protocol has it. */
export interface KernelMessage {
  /** `display_data` or `update_display_data`. */
  readonly type: string;
  /** Data, metadata and transient of the display. */
  readonly content: {
    readonly data: MimeBundle;
    readonly metadata: Readonly<Record<string, unknown>>;
    readonly transient: { readonly display_id?: string };
  };
}

/** Takes messages in the kernel's stead. */
export type Sink = (message: KernelMessage) => void | Promise<void>;

const kernel = runningKernel();
const flush = kernel && new Flush(kernel, findPublisher());
flush?.install();

let sink: Sink | undefined;

/**
 * Sends all displays to a function, as if in a notebook; for tests.
 *
 * @returns A function that ends this.
 */
export function captureDisplays(to: Sink): () => void {
  sink = to;
  return () => sink = undefined;
}

/** Whether displays go to a notebook; elsewhere their text is printed. */
export function isNotebook(): boolean {
  return sink !== undefined || kernel !== undefined;
}

/**
 * Whether displays are to be such as can be committed: pictures instead of scripts and HTML. The
 * environment variable `DENOFORMERS_NOTEBOOK_OUTPUT` says so by the value `static`.
 */
export function isStatic(): boolean {
  const value = environment("DENOFORMERS_NOTEBOOK_OUTPUT") ?? "interactive";
  if (value !== "static" && value !== "interactive") {
    throw new RangeError(
      `Cannot show output: DENOFORMERS_NOTEBOOK_OUTPUT is "${value}", expected "static" or ` +
        `"interactive"`,
    );
  }
  return value === "static";
}

/** An environment variable; undefined where it is not set, empty, or may not be read. */
export function environment(name: string): string | undefined {
  try {
    return Deno.env.get(name) || undefined;
  } catch {
    return undefined;
  }
}

/**
 * Shows a bundle below the running cell, and waits until the front end was sent it. Outside of a
 * notebook it prints the bundle's `text/plain`.
 *
 * @param bundle Contents by MIME type; always with `text/plain`.
 * @param options Where: as a new display, under a name, or in the place of an earlier one.
 */
export async function display(bundle: MimeBundle, options: DisplayOptions = {}): Promise<void> {
  const { id, update = false, metadata = {} } = options;
  const type = update ? "update_display_data" : "display_data";
  const content = { data: bundle, metadata, transient: id === undefined ? {} : { display_id: id } };
  if (sink) return await sink({ type, content });
  if (!kernel) {
    // deno-lint-ignore no-console -- printing is what was asked for
    console.log(bundle["text/plain"]);
    return;
  }
  flush?.count();
  await kernel.broadcast(type, content);
  // A cell that throws next loses what is still queued; an update will be followed by another.
  if (!update) flush?.wait();
}
