/**
 * Wrong calls that users of PyTorch and xformers make: every argument of an entry replaced by what they would pass,
 * their names for options, and what stands in the place of options.
 */
import { type Device, tidy } from "@denoformers/attention";
import { told } from "../gpu/checks.ts";
import { type Arguments, disposeOwned, type Entry } from "./fuzz/_entry.ts";
import { faultOf } from "./fuzz/_refused.ts";
import { valueOf, wrongValues } from "./_wrong_calls_values.ts";
import { MISPLACED, WORDS } from "./_wrong_calls_words.ts";

/** A call that must be refused. */
export interface WrongCall {
  /** What is wrong, as code. */
  readonly text: string;
  readonly call: (device: Device) => unknown;
  /** What the error must say: one text of each list. */
  readonly says: readonly (readonly string[])[];
}

/** Arguments that entries make of others where they are not given; the other optional ones may be null. */
const REQUIRED = ["options", "fn", "make", "definition", "state", "tensors", "sizes", "figure"];

/** What errors call arguments of entries. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  actual: ["shape"],
  attnSplit: ["chunks"],
  data: ["nested arrays"],
  indices: ["index", "nested arrays", "disposed tensor", "two devices"],
  inputs: ["input"],
  order: ["axis"],
  outputDtype: ["grad"],
  parameters: ["a group"],
  tables: ["blockTables"],
  target: ["nested arrays"],
};

/** The wrong calls of an entry from arguments that are right; `action` is what its errors say cannot be done. */
export async function wrongCalls(
  entry: Entry,
  right: Arguments,
  action: readonly string[],
  device: Device,
  other: Device,
): Promise<WrongCall[]> {
  const { kinds, call } = entry;
  const calls: WrongCall[] = [];
  for (const [argument, kind] of Object.entries(kinds)) {
    const called = (value: (device: Device) => unknown) => (device: Device) =>
      call({ ...right, [argument]: value(device) } as Arguments, device);
    for (const { text, make } of wrongValues(kind)) {
      const isOptional = !(argument in right) && !REQUIRED.includes(argument);
      if (isOptional && (text === "null" || text === "undefined")) continue;
      const value = tidy(() => told(make(device, other)));
      const says = [action, [argument, kind, value, ...ALIASES[argument] ?? []]];
      calls.push({ text: `${argument}: ${text}`, call: called((d) => make(d, other)), says });
    }
    if (kind !== "options" || argument === "mask") continue;
    const known = await knownNames(called(() => ({ "?": 1 })), device);
    for (const [word, ...meant] of WORDS) {
      if (known.includes(word)) continue;
      const name = meant.find((candidate) => known.includes(candidate.split(":")[0]!));
      const says = [action, [JSON.stringify(word)], name ? [`did you mean ${name}?`] : [""]];
      const options = () => Object.fromEntries([[word, 1]]);
      calls.push({ text: `{ ${JSON.stringify(word)}: 1 }`, call: called(options), says });
    }
    for (const [text, what] of MISPLACED) {
      calls.push({
        text: `${argument}: ${text}`,
        call: called((device) => valueOf(text, device)),
        says: [action, [what]],
      });
    }
  }
  return calls;
}

/** The names of options, as the error about another one lists them. */
async function knownNames(call: (device: Device) => unknown, device: Device): Promise<string[]> {
  const { message } = await thrownBy(call, device) as Error;
  return /known (?:is|are) (.*)$/.exec(message)![1]!.split(", ");
}

/** What is wrong with the refusal of a call; `undefined` if nothing is. */
export async function faultOfCall({ text, call, says }: WrongCall, device: Device) {
  const error = await thrownBy(call, device);
  if (error === undefined) return `${text}: accepted`;
  const fault = faultOf(error);
  if (fault) return `${text}: ${fault}`;
  const { message } = error as Error;
  const missing = says.find((texts) => !texts.some((text) => message.includes(text)));
  return missing && `${text}: "${message}" says nothing of ${missing.join(" or ")}`;
}

async function thrownBy(call: (device: Device) => unknown, device: Device): Promise<unknown> {
  try {
    // Tensors of the call are disposed with the scope; a promise is refused without them.
    let result: unknown;
    tidy(() => void (result = call(device)));
    await result;
  } catch (error) {
    return error ?? "nothing";
  } finally {
    disposeOwned();
  }
  return undefined;
}
