/** What {@linkcode parseArguments} found. */
export interface RunArguments {
  /** Names of the drivers to run on. */
  drivers: string[];
  /** The program to run on each, with its arguments. */
  command: string[];
}

/**
 * Reads the arguments of `run.ts`: `[--drivers a,b] [-- COMMAND [ARGUMENT]…]`.
 *
 * @param args The arguments.
 * @param known Names of all drivers; all are run where none is named.
 * @param usual The command where none is given.
 * @returns What they say.
 */
export function parseArguments(args: string[], known: string[], usual: string[]): RunArguments {
  const end = args.indexOf("--");
  const command = end < 0 ? usual : args.slice(end + 1);
  if (command.length === 0) throw new TypeError("Cannot run: no command after --");
  const options = end < 0 ? [...args] : args.slice(0, end);
  let drivers = known;
  while (options.length > 0) {
    const [name, inline] = options.shift()!.split("=", 2);
    if (name !== "--drivers") throw new TypeError(`Cannot run: unknown option "${name}"`);
    drivers = (inline ?? options.shift() ?? "").split(",").filter((driver) => driver !== "");
    const unknown = drivers.filter((driver) => !known.includes(driver));
    if (unknown.length > 0 || drivers.length === 0) {
      throw new TypeError(
        `Cannot run: drivers are ${known.join(", ")}, got "${unknown.join(",")}"`,
      );
    }
  }
  return { drivers, command };
}
