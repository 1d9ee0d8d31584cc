/**
 * `node:v8` for where there is no Node. V8 gets its flag on the command line: `--expose-gc`.
 *
 * @module
 */

/** What the module exports by default. */
const v8 = {
  /** Does nothing: flags were set when the program started. */
  setFlagsFromString(_flags: string): void {},
};

export default v8;
