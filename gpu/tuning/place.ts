/** Where choices are kept, and what they depend on. */
import type { DeviceInfo } from "../runtime/info.ts";
import type { FileSystem } from "./file.ts";
import { LIBRARY_VERSION } from "./version.ts";

/** Overrides the place: an absolute path, or nothing for no file. */
const VARIABLE = "DENOFORMERS_TUNING_CACHE";

/** What this module needs of `Deno`, which other runtimes lack. */
interface DenoParts {
  readonly build: { readonly os: string };
  readonly env: { get(name: string): string | undefined };
  readonly permissions: {
    querySync(
      descriptor: { name: "env"; variable: string } | { name: "read" | "write"; path: string },
    ): { readonly state: string };
  };
  lstatSync(path: string): { isFile: boolean; size: number };
  readTextFileSync(path: string): string;
  writeTextFileSync(path: string, text: string, options: { createNew: boolean }): void;
  renameSync(from: string, to: string): void;
  removeSync(path: string): void;
  mkdirSync(path: string, options: { recursive: boolean }): void;
}

/** Files and environment, where there are any. */
export interface Host {
  /** The way to files. */
  readonly files: FileSystem;
  /** The operating system, as Deno names it. */
  readonly os: string;
  /** A variable of the environment, if there is one and it may be read. */
  env(name: string): string | undefined;
}

/** What this runtime has; `undefined` for all but Deno. Permissions are looked up, never asked for. */
export function denoHost(): Host | undefined {
  const { Deno } = globalThis as { Deno?: DenoParts };
  if (!Deno) return undefined;
  const isGranted = (descriptor: Parameters<DenoParts["permissions"]["querySync"]>[0]) =>
    Deno.permissions.querySync(descriptor).state === "granted";
  return {
    os: Deno.build.os,
    env: (variable) => isGranted({ name: "env", variable }) ? Deno.env.get(variable) : undefined,
    files: {
      isGranted,
      lstat: (path) => Deno.lstatSync(path),
      read: (path) => Deno.readTextFileSync(path),
      write: (path, text) => Deno.writeTextFileSync(path, text, { createNew: true }),
      rename: (from, to) => Deno.renameSync(from, to),
      remove: (path) => Deno.removeSync(path),
      mkdir: (path) => Deno.mkdirSync(path, { recursive: true }),
    },
  };
}

/**
 * Where to keep choices.
 *
 * @param host Says so, by its operating system and environment.
 * @param wanted What the caller wants instead.
 * @returns A path; `undefined` for no file.
 */
export function tuningPath(host: Host, wanted: string | undefined): string | undefined {
  if (wanted !== undefined) return wanted || undefined;
  const override = host.env(VARIABLE);
  // Of any other text, as `~/tuning.json` or an address, folders would come into being wherever a program is run.
  if (override !== undefined) return isAbsolute(override, host.os) ? override : undefined;
  const folder = cacheFolder(host);
  return folder && `${folder}/denoformers/tuning.json`;
}

function isAbsolute(path: string, os: string): boolean {
  return os === "windows" ? /^([A-Za-z]:)?[/\\]/.test(path) : path.startsWith("/");
}

function cacheFolder({ os, env }: Host): string | undefined {
  if (os === "windows") return env("LOCALAPPDATA") || undefined;
  const home = env("HOME");
  if (os === "darwin") return home && `${home}/Library/Caches`;
  const given = env("XDG_CACHE_HOME"); // Only an absolute path counts, by its specification.
  return given?.startsWith("/") ? given : home && `${home}/.cache`;
}

/**
 * Everything that choices depend on, other than the problem: one line of text.
 *
 * @param info The device.
 * @param driver The driver and its version, where the runtime tells.
 */
export function tuningKey(info: DeviceInfo, driver: string): string {
  const { adapter, vendor, architecture, runtime, subgroupSize, f16 } = info;
  return [
    adapter,
    vendor,
    architecture,
    driver,
    `subgroups ${subgroupSize}`,
    `f16 ${f16 ? "yes" : "no"}`,
    runtime,
    `denoformers ${LIBRARY_VERSION}`,
  ].filter((part) => part !== "").join(", ");
}
