// Bundles a page's script with what packages/node_modules links to, as an application's bundler would.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const packages = fileURLToPath(new URL("../../packages", import.meta.url));
const esbuild = `${packages}/node_modules/esbuild/bin/esbuild`;

/** Whether what bundles is here; `findSdk` says and counts it where it is not. */
export const canBundle = existsSync(esbuild);
if (!canBundle && process.env.CI === "true") throw new Error("needs esbuild, bring it with script/sdk");

/** The script as one module; the core stays a file beside it. */
export function bundle(script) {
  const options = ["--bundle", "--format=esm", "--target=es2022", "--log-level=warning", "--jsx=automatic", "--loader=tsx",
    "--define:process.env.NODE_ENV=\"production\""];
  return execFileSync(esbuild, options, { input: script, cwd: packages, encoding: "utf8", maxBuffer: 16 << 20 });
}
