// The same client with the core among its code: for pages that are one file, and where a bundler or a host cannot bring
// `core_bg.wasm` along. Law: it is the package's own entry but for `createClient`, which gives the core itself.

import core from "../core/inline.js";
import { type Client, type ClientOptions, createClient as createPlain } from "./client.js";
import type { EntityMap } from "./organization.js";
import type { Json } from "./words.js";

export * from "./index.js";

let bytes: Uint8Array<ArrayBuffer> | undefined;

/** Makes a client that brings the core along; nothing is opened or sent before the first `org`. */
export function createClient<Entities extends EntityMap = Record<string, Record<string, Json>>>(
  options: ClientOptions,
): Client<Entities> {
  bytes ??= Uint8Array.from(atob(core), (character) => character.charCodeAt(0));
  return createPlain<Entities>({ wasm: bytes, ...options });
}
