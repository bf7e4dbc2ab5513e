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
  try {
    const core = (await import("../core/core.js")) as unknown as Core;
    const source = wasm ?? (await bytesBeside(import.meta.url));
    await core.default(source === undefined ? undefined : { module_or_path: source });
    return core;
  } catch (error) {
    throw new AntiphonError("CORE_UNAVAILABLE", `core_bg.wasm could not be loaded or compiled (${String(error)}); nothing was opened`);
  }
}

/** What Node brings with itself, as far as it is asked for here. */
interface NodeProcess {
  getBuiltinModule?(name: "node:fs/promises"): { readFile(file: URL): Promise<BufferSource> } | undefined;
}

/** The core beside this file, where that is one on a disk and Node is what runs it: Node fetches no files. */
async function bytesBeside(here: string): Promise<BufferSource | undefined> {
  const { process } = globalThis as { process?: NodeProcess };
  if (!here.startsWith("file:")) return undefined;
  return process?.getBuiltinModule?.("node:fs/promises")?.readFile(new URL("../core/core_bg.wasm", here));
}

/** Reads a machine's answer. */
export function answerOf(machine: Machine, call: unknown): MachineAnswer {
  const answer = JSON.parse(machine.call(written(call))) as MachineAnswer;
  if (answer.error !== undefined) throw new AntiphonError("CALL_INVALID", answer.error);
  return answer;
}

/** How half a surrogate pair stands in JSON. */
const HALF = /\\ud[89a-f]/;

/** Writes a call. A look at every text is for those calls that need it: a start passes thousands. */
function written(call: unknown): string {
  const text = JSON.stringify(call);
  return HALF.test(text) ? JSON.stringify(call, wellFormed) : text;
}

/** Half a surrogate pair, as typed or pasted, cannot be written as text. */
function wellFormed(_name: string, value: unknown): unknown {
  return typeof value === "string" ? value.replace(/\p{Surrogate}/gu, "\ufffd") : value;
}
