/**
 * Choices beyond the life of a device: a small JSON file, read when a device is requested and written when a
 * choice was measured. Only Deno has files, and only where the permissions are granted already: nobody is asked
 * for any, and whatever goes wrong here, choices are measured again and nothing else happens.
 */

/** A choice as it is kept. */
export interface KeptChoice {
  /** Name of the problem. */
  readonly problem: string;
  /** Name of the candidate. */
  readonly choice: string;
  /** Of the candidates among which it was chosen. */
  readonly fingerprint: number;
  /** How many candidates there was no time for. */
  readonly untried: number;
  /** How often it was measured. */
  readonly attempts: number;
}

/** What this module needs of Deno. */
export interface FileSystem {
  /** Whether a permission is granted. */
  isGranted(permission: { name: "read" | "write"; path: string }): boolean;
  /** The parts of `Deno.lstatSync`, which throws if there is nothing. */
  lstat(path: string): { isFile: boolean; size: number };
  /** `Deno.readTextFileSync`. */
  read(path: string): string;
  /** Writes a file that does not exist yet. */
  write(path: string, text: string): void;
  /** `Deno.renameSync`. */
  rename(from: string, to: string): void;
  /** `Deno.removeSync`. */
  remove(path: string): void;
  /** Makes a folder and those around it. */
  mkdir(path: string): void;
}

/** Every file of ours begins with this; no other is read or written over. The number is the format's. */
const MARK = '{"denoformersTuning":1,';

/** Larger files are not ours. */
const MAX_BYTES = 2 ** 20;

/** Adapters and versions in a file, and choices of each; the oldest go first. */
const MAX_SECTIONS = 8;
const MAX_CHOICES = 256;

/** Longer names are not ours. */
const MAX_NAME = 500;

type Sections = Map<string, Map<string, KeptChoice>>;

/** The choices that a file holds for one adapter and one version of everything. */
export class TuningFile {
  /** Where the file is. */
  readonly path: string;
  readonly #files: FileSystem;
  readonly #key: string;
  readonly #folder: string;
  #choices: Map<string, KeptChoice>;

  /**
   * Reads the file, if there is one.
   *
   * @param files The way to it.
   * @param path Where it is, or is going to be.
   * @param key What choices depend on, other than the problem.
   */
  constructor(files: FileSystem, path: string, key: string) {
    this.path = path;
    this.#files = files;
    this.#key = key.slice(0, MAX_NAME);
    this.#folder = /[/\\]/.test(path) ? path.replace(/[/\\][^/\\]*$/, "") || "/" : ".";
    this.#choices = this.#read()?.get(this.#key) ?? new Map();
  }

  /** What is kept for a problem. */
  get(problem: string): KeptChoice | undefined {
    return this.#choices.get(problem);
  }

  /** Keeps a choice, in the file too where it can be written. */
  put(choice: KeptChoice): void {
    this.#choices.set(choice.problem, choice);
    const { path } = this;
    const mayWrite = (["read", "write"] as const).every((name) =>
      this.#files.isGranted({ name, path: this.#folder })
    );
    if (!mayWrite) return;
    // Others may have written meanwhile; of two that write at once one loses its latest choice, no more.
    const sections = this.#read();
    if (!sections) return;
    const own = sections.get(this.#key) ?? new Map<string, KeptChoice>();
    own.delete(choice.problem);
    own.set(choice.problem, choice);
    sections.delete(this.#key);
    sections.set(this.#key, own);
    const draft = `${path}.${crypto.randomUUID()}`;
    try {
      this.#files.mkdir(this.#folder);
      this.#files.write(draft, format(sections));
      this.#files.rename(draft, path);
    } catch {
      ignoringErrors(() => this.#files.remove(draft));
    }
  }

  /** All that the file holds; nothing if there is none; `undefined` if what is there is not ours. */
  #read(): Sections | undefined {
    if (!this.#files.isGranted({ name: "read", path: this.path })) return undefined;
    const found = ignoringErrors(() => this.#files.lstat(this.path));
    if (!found) return new Map();
    if (!found.isFile || found.size > MAX_BYTES) return undefined; // Links included.
    const text = ignoringErrors(() => this.#files.read(this.path));
    if (text === "") return new Map();
    return text?.startsWith(MARK) ? parse(text) : undefined;
  }
}

function ignoringErrors<T>(fn: () => T): T | undefined {
  try {
    return fn();
  } catch {
    return undefined;
  }
}

function format(sections: Sections): string {
  const lines = [...sections].slice(-MAX_SECTIONS).map(([key, choices]) =>
    JSON.stringify({ key, choices: [...choices.values()].slice(-MAX_CHOICES) })
  );
  return `${MARK}"sections":[\n${lines.join(",\n")}\n]}\n`;
}

/** Believes nothing: what is not a choice is left out. */
function parse(text: string): Sections {
  const sections: Sections = new Map();
  const root = ignoringErrors(() => JSON.parse(text));
  for (const section of listIn(root, "sections").slice(-MAX_SECTIONS)) {
    const { key } = section as { key?: unknown };
    if (!isName(key)) continue;
    const choices = listIn(section, "choices").slice(-MAX_CHOICES).filter(isChoice);
    sections.set(
      key,
      new Map(choices.map(({ problem, choice, fingerprint, untried, attempts }) => [
        problem,
        { problem, choice, fingerprint, untried, attempts },
      ])),
    );
  }
  return sections;
}

/** The objects in an object's list of this name. */
function listIn(value: unknown, name: string): object[] {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return [];
  const list = (value as Record<string, unknown>)[name];
  if (!Array.isArray(list)) return [];
  return list.filter((item) => typeof item === "object" && item !== null);
}

function isChoice(value: object): value is KeptChoice {
  const { problem, choice, fingerprint, untried, attempts } = value as Record<string, unknown>;
  return isName(problem) && isName(choice) && isCount(fingerprint) && isCount(untried) &&
    isCount(attempts);
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= MAX_NAME;
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32;
}
