// Builds Desk into apps/desk/bundle: the page, one script, one style sheet, each also compressed, as the binary holds them.
// usage: node apps/desk/build.mjs
// Law: what did not change is not written again, since the binary is built anew when its bundle is touched.

import { build } from "esbuild";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const desk = fileURLToPath(new URL(".", import.meta.url));
const bundle = `${desk}bundle/`;

/** What a visitor has to load besides the core, compressed with gzip. */
const GZIP_BYTES_MAX = 160_000;

const { outputFiles } = await build({
  entryPoints: { desk: `${desk}src/main.tsx` },
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  minify: true,
  legalComments: "none",
  define: { "process.env.NODE_ENV": '"production"' },
  outdir: bundle,
  write: false,
  logLevel: "warning",
});

const files = new Map(outputFiles.map(({ path, contents }) => [path.slice(bundle.length), Buffer.from(contents)]));
for (const name of ["index.html", "icon.svg", "manifest.webmanifest"]) files.set(name, readFileSync(desk + name));
files.set("core_bg.wasm", readFileSync(`${desk}../../packages/client/core/core_bg.wasm`));
// A release is what it is made of: another byte is another one.
const release = createHash("sha256");
for (const [name, bytes] of files) release.update(name).update(bytes);
const worker = readFileSync(`${desk}worker.js`, "utf8").replace("RELEASE", release.digest("hex").slice(0, 16));
files.set("worker.js", Buffer.from(worker));
mkdirSync(bundle, { recursive: true });
let gzipBytes = 0;
for (const [name, bytes] of files) {
  // The core stands in the binary already, as it is; it is packed once for each core.
  const core = name === "core_bg.wasm";
  if (core && !replace(name, bytes) && existsSync(`${bundle}${name}.br`)) continue;
  const zipped = gzipSync(bytes, { level: 9 });
  if (!core) gzipBytes += zipped.length;
  replace(name, bytes);
  replace(`${name}.gz`, zipped);
  replace(`${name}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }));
}
console.log(`desk: ${gzipBytes} bytes gzipped without the core; the limit is ${GZIP_BYTES_MAX}`);
if (gzipBytes > GZIP_BYTES_MAX) process.exit(1);

/** Writes a file where it differs, and tells whether it did. */
function replace(name, bytes) {
  const path = bundle + name;
  if (existsSync(path) && readFileSync(path).equals(bytes)) return false;
  writeFileSync(path, bytes);
  return true;
}
