/** Opens an address in the user's browser. */

const COMMANDS: Readonly<Record<string, readonly [program: string, ...args: string[]]>> = {
  darwin: ["open"],
  windows: ["rundll32", "url.dll,FileProtocolHandler"],
};

/**
 * The command that opens an address.
 *
 * @param os The system as `Deno.build.os` names it.
 * @param url The address.
 * @returns The program and its arguments.
 */
export function openCommand(os: string, url: string): [program: string, ...args: string[]] {
  return [...(COMMANDS[os] ?? ["xdg-open"]), url] as [program: string, ...args: string[]];
}

/**
 * Opens an address in the user's browser, and does not wait for it: the program may last as long as the browser.
 *
 * @param url The address.
 * @param os The system as `Deno.build.os` names it.
 * @returns Whether there is a program to do so.
 */
export function openInBrowser(url: string, os: string = Deno.build.os): boolean {
  const [program, ...args] = openCommand(os, url);
  try {
    new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" })
      .spawn().unref();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
