/** What choices depend on besides the adapter: kernels change from one version of the library to the next. */

/** The version of this library, as in deno.json. */
export const LIBRARY_VERSION = "0.1.0";
