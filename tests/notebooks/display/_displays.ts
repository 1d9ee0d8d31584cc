// deno-lint-ignore-file no-console -- what is printed is caught
/** What the helpers of notebooks show, caught before it goes to a notebook. */
import { captureDisplays, type KernelMessage } from "../../../notebooks/display/kernel.ts";

/** Displays, oldest first. */
export type Displays = (KernelMessage & { readonly data: Readonly<Record<string, string>> })[];

/**
 * Runs a function as if in a notebook.
 *
 * @param show Shows something.
 * @param environment Variables that are set meanwhile.
 * @returns What was shown.
 */
export async function displaysOf(
  show: () => unknown,
  environment: Readonly<Record<string, string>> = {},
): Promise<Displays> {
  const displays: Displays = [];
  const release = captureDisplays((message) => {
    displays.push({ ...message, data: message.content.data as Record<string, string> });
  });
  try {
    await withEnvironment(environment, show);
  } finally {
    release();
  }
  return displays;
}

/** The same for output that is to be committed. */
export async function staticDisplaysOf(show: () => unknown): Promise<Displays> {
  return await displaysOf(show, { DENOFORMERS_NOTEBOOK_OUTPUT: "static" });
}

/** Runs a function while variables of the environment are set. */
export async function withEnvironment<T>(
  variables: Readonly<Record<string, string>>,
  fn: () => T | Promise<T>,
): Promise<T> {
  const before = Object.keys(variables).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    return await fn();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

/** What a function prints by `console.log`. */
export async function printedBy(fn: () => unknown): Promise<string[]> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (...values: unknown[]) => void lines.push(values.join(" "));
  try {
    await fn();
  } finally {
    console.log = log;
  }
  return lines;
}
