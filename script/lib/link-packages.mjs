// Fills packages/node_modules with links: to the packages in the cache, and to those of this repository by their names,
// so that tsc, esbuild, Node and editors resolve in the plain way. usage: node link-packages.mjs CACHE/node_modules
// Law: what is there is only links; one that leads to the right place is left alone.

import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const cache = resolve(process.argv[2]);
const packages = resolve("packages");
const place = join(packages, "node_modules");

/** Folders of a `node_modules`, those of a scope one by one. */
function namesIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => !name.startsWith(".")).flatMap((name) => (
    name.startsWith("@") ? readdirSync(join(folder, name)).map((one) => `${name}/${one}`) : [name]));
}

const wanted = new Map(namesIn(cache).map((name) => [name, join(cache, name)]));
for (const folder of readdirSync(packages)) {
  const manifest = join(packages, folder, "package.json");
  if (folder === "node_modules" || !existsSync(manifest)) continue;
  const { name } = JSON.parse(readFileSync(manifest, "utf8"));
  wanted.set(name, relative(dirname(join(place, name)), join(packages, folder)));
}

for (const name of namesIn(place)) if (!wanted.has(name)) rmSync(join(place, name), { recursive: true });
for (const [name, target] of wanted) link(join(place, name), target);
// Applications find what packages find.
link(resolve("apps/node_modules"), "../packages/node_modules");

function link(path, target) {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSymbolicLink() && readlinkSync(path) === target) return;
  if (found) rmSync(path, { recursive: true });
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(target, path, "dir");
}
