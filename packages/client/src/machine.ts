// The client machine behind its JSON face, and how its WebAssembly is loaded.
// Laws: one call, one answer, both JSON text; a fault in the machine ends it for good. Importing this touches no
// browser API: the module is fetched when a machine is first made.

import { AntiphonError } from "./fault.js";
import type { Want } from "./words.js";

/** What the machine answers to a call. */
export interface MachineAnswer {
  readonly result: unknown;
  readonly outputs: readonly Want[];
  readonly wakeAtMs: number | null;
  readonly error?: string;
}

/** One machine. */
export interface Machine {
  /** Answers a call, both JSON text. */
  call(json: string): string;
  /** Gives its memory back. */
  free(): void;
}

/** Where the WebAssembly module is: an address, its bytes, or compiled already. */
export type WasmSource = string | URL | BufferSource | WebAssembly.Module;

/** What the module's own JavaScript offers. */
interface Core {
  readonly default: (from?: { module_or_path: WasmSource }) => Promise<unknown>;
  readonly Face: new () => Machine;
}

let loading: Promise<Core> | undefined;

/** Loads the module once, and makes a machine; where loading fails, the next call tries again. */
export async function makeMachine(wasm?: WasmSource): Promise<Machine> {
  loading ??= load(wasm).catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return new (await loading).Face();
}

async function load(wasm?: WasmSource): Promise<Core> {
  const core = (await import("../core/core.js")) as unknown as Core;
  await core.default(wasm === undefined ? undefined : { module_or_path: wasm });
  return core;
}

/** Reads a machine's answer. */
export function answerOf(machine: Machine, call: unknown): MachineAnswer {
  const answer = JSON.parse(machine.call(JSON.stringify(call, wellFormed))) as MachineAnswer;
  if (answer.error !== undefined) throw new AntiphonError("CALL_INVALID", answer.error);
  return answer;
}

/** Half a surrogate pair, as typed or pasted, cannot be written as text. */
function wellFormed(_name: string, value: unknown): unknown {
  return typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value;
}
