/** What there is to call. */
import * as everything from "@denoformers/attention";
import * as testing from "@denoformers/attention/testing";

/** `Class`, `Class.method` of what the class itself defines, and functions. */
export function publicNames(): string[] {
  return Object.entries({ ...everything, ...testing }).flatMap(([name, value]) => {
    if (typeof value !== "function") {
      const isOp = typeof value === "object" && "notSupportedReasons" in value;
      return isOp ? [name, `${name}.notSupportedReasons`] : [name];
    }
    if (!/^class\b/.test(Function.prototype.toString.call(value))) return [name];
    const statics = Object.getOwnPropertyNames(value)
      .filter((key) => !["length", "name", "prototype"].includes(key));
    const methods = Object.getOwnPropertyNames(value.prototype)
      .filter((key) => key !== "constructor");
    return [name, ...new Set([...statics, ...methods])].map((key) =>
      key === name ? name : `${name}.${key}`
    );
  });
}
