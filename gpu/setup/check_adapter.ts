// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Tests this machine's GPU adapter in a process of its own, and prints one line of JSON, an
 * {@linkcode AdapterReport}. The exit code is 0 where the adapter is usable. The process must be a fresh
 * one: drivers are looked for once in a process, so one that ran before an installation cannot see it.
 */
import { GpuUnavailableError } from "../errors.ts";
import { requestDevice } from "../mod.ts";

/** What the check found. */
export interface AdapterReport {
  /** Whether the adapter is usable. */
  ok: boolean;
  /** The adapter's name. */
  adapter?: string;
  /** Whether the adapter computes on the CPU. */
  isFallback?: boolean;
  /** Why there is no usable adapter, without a full stop. */
  reason?: string;
  /** Whether the reason is the adapter or its absence, not a fault elsewhere. */
  unavailable?: boolean;
}

async function check(): Promise<AdapterReport> {
  try {
    const device = await requestDevice();
    const { adapter, isFallback } = device.info;
    const report = { ok: true, adapter, isFallback };
    device.dispose();
    return report;
  } catch (error) {
    if (error instanceof GpuUnavailableError) {
      // What to install follows on further lines.
      const reason = error.message.split("\n", 1)[0]!.replace(/\.$/, "");
      return { ok: false, reason, unavailable: true };
    }
    return { ok: false, reason: String(error instanceof Error ? error.stack : error) };
  }
}

if (import.meta.main) {
  const report = await check();
  console.log(JSON.stringify(report));
  Deno.exit(report.ok ? 0 : 1);
}
