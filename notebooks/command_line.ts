// deno-lint-ignore-file no-console -- for programs of the command line
/** What the tasks' programs share: reading their flags, saying what is wrong with them, printing the usage. */
import { parseArgs, type ParseArgsConfig } from "node:util";

/** A command line that cannot be understood; the text says what was expected. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** A program that takes flags. */
export interface Program<Options extends { readonly help: boolean }> {
  /** The text of `--help`. */
  readonly usage: string;
  /** Reads the arguments; throws {@linkcode UsageError}. */
  readonly parse: (args: readonly string[]) => Options;
  /** Does the work; gives the exit code. */
  readonly run: (options: Options) => Promise<number>;
}

/**
 * Runs a program with these arguments, or says what is wrong with them, or prints the usage.
 *
 * @returns The exit code: 2 for a command line that cannot be understood.
 */
export async function runWithArguments<Options extends { readonly help: boolean }>(
  { usage, parse, run }: Program<Options>,
  args: readonly string[],
): Promise<number> {
  try {
    const options = parse(args);
    if (!options.help) return await run(options);
    console.log(usage.trimEnd());
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${usage.trimEnd()}`);
    return 2;
  }
}

/**
 * Reads flags as texts.
 *
 * @param args The arguments.
 * @param options The flags that there are, as `node:util`'s `parseArgs` wants them.
 * @returns Their values by name.
 * @throws {UsageError} For a flag that there is not, or one without its value.
 */
export function parseFlags<const Flags extends NonNullable<ParseArgsConfig["options"]>>(
  args: readonly string[],
  options: Flags,
) {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // Advice on positional arguments follows, of which there are none here.
    throw new UsageError(error.message.split(/\. |\n/, 1)[0]!);
  }
}

/**
 * The whole number that a flag gives.
 *
 * @param name The flag, without its dashes.
 * @param text Its value.
 * @param min The least that it may be.
 * @param max The most; by default there is no limit.
 * @throws {UsageError} For any other text.
 */
export function wholeNumber(
  name: string,
  text: string,
  min: number,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `>= ${min}` : `from ${min} to ${max}`;
  throw new UsageError(`--${name} is "${text}", expected a whole number ${range}`);
}
