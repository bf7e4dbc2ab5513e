// usage: node build.mjs     then serve the folder `out`
import { copyFileSync } from "node:fs";
import { build } from "esbuild";

const shared = { bundle: true, minify: true, target: "es2022", outdir: "out" };
await build({ ...shared, entryPoints: ["main.js"], format: "esm", loader: { ".wasm": "file" }, publicPath: "/" });
// A plain script has no address of its own, and needs none: the core is inside.
await build({ ...shared, entryPoints: ["inline.js"], format: "iife", logOverride: { "empty-import-meta": "silent" } });
for (const page of ["index.html", "inline.html"]) copyFileSync(page, `out/${page}`);
