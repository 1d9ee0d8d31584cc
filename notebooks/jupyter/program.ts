// deno-lint-ignore-file no-console -- for programs of the command line
/** What the programs that install or serve share: how they end. */
import { SetupError } from "../../gpu/setup/install.ts";
import { UsageError } from "../command_line.ts";

/**
 * Runs a program to its end. Of what users can mend, the message alone is shown.
 *
 * @param main Takes the arguments, gives the exit code.
 */
export async function runProgram(
  main: (args: readonly string[]) => Promise<number>,
): Promise<never> {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    if (!(error instanceof SetupError || error instanceof UsageError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}
