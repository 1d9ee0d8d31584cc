/**
 * `node:vm` for where there is no Node: just enough to get at V8's garbage collector.
 *
 * @module
 */

/** What the module exports by default. */
const vm = {
  /** The value of a global variable, or `undefined` if there is none of this name. */
  runInNewContext(name: string): unknown {
    return Reflect.get(globalThis, name);
  },
};

export default vm;
