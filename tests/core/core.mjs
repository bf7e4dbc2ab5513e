// Where the built core and the vectors lie.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The folder of the built core; it must be there, since a test that is left out would look like one that passed. */
export const coreFolder = join(root, "packages/client/core");
if (!existsSync(join(coreFolder, "core.js"))) throw new Error("needs packages/client/core, build it with cargo xtask wasm");

const vectorsFolder = join(root, "crates/sync/vectors");

/** Every file of vectors: its name and its text. */
export const vectors = readdirSync(vectorsFolder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => [name, readFileSync(join(vectorsFolder, name), "utf8")]);
