/** Serves the package as JSR would: the files that are published, with npm packages by full names. */
import { ROOT } from "../../notebooks/jupyter/paths.ts";

/** The parts of deno.json that say what is published. */
interface Config {
  readonly imports: Readonly<Record<string, string>>;
  readonly publish: { readonly include: readonly string[]; readonly exclude: readonly string[] };
}

/** A server of modules. */
export interface PackageServer {
  /** Its address, with a slash at its end. */
  readonly url: string;
  /** Ends it. */
  stop(): Promise<void>;
}

/**
 * Starts a server on this computer.
 *
 * @returns The server.
 */
export function servePackage(): PackageServer {
  const config: Config = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
    if (!isPublished(path, config.publish)) return new Response("Not published", { status: 404 });
    try {
      const text = withFullNames(Deno.readTextFileSync(ROOT + path), config.imports);
      return new Response(text, { headers: { "content-type": "application/typescript" } });
    } catch {
      return new Response("Not found", { status: 404 });
    }
  });
  return { url: `http://127.0.0.1:${server.addr.port}/`, stop: () => server.shutdown() };
}

function isPublished(path: string, { include, exclude }: Config["publish"]): boolean {
  const matches = (pattern: string) => {
    const [folder, ending] = pattern.split("**/*");
    if (ending !== undefined) return path.startsWith(folder!) && path.endsWith(ending);
    return pattern.endsWith("/") ? path.startsWith(pattern) : path === pattern;
  };
  return include.some(matches) && !exclude.some(matches);
}

/** Writes what deno.json's import map says into the imports of a module, as publishing does. */
function withFullNames(module: string, imports: Config["imports"]): string {
  return module.replace(
    /\b((?:from|import)\s*\(?\s*)"([^"\n]+)"/g,
    (whole, before: string, specifier: string) => {
      const name = Object.keys(imports).find((name) => `${specifier}/`.startsWith(`${name}/`));
      return name === undefined
        ? whole
        : `${before}"${imports[name]}${specifier.slice(name.length)}"`;
    },
  );
}
