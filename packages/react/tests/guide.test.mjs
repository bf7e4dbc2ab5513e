// The snippets of docs/guide/react.md compile; tests/browser runs the first of them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const read = (path) => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const snippets = [...read("docs/guide/react.md").matchAll(/```tsx\n(.*?)```/gs)].map(([, text]) => text);
// Inside the package, so that names lead to what an application gets.
const folder = fileURLToPath(new URL("../dist/guide", import.meta.url));

test("the list of the guide has ten lines, and the front page shows the same sdk_05", () => {
  assert.equal(snippets[0].trim().split("\n").length, 10);
  assert.ok(read("README.md").includes(`\`\`\`tsx\n${snippets[0]}\`\`\``));
});

const compiler = process.env.ANTIPHON_TSC;
if (!compiler) {
  if (process.env.CI === "true") throw new Error("needs ANTIPHON_TSC, which script/test sets");
  console.log("skipped: needs the TypeScript compiler in ANTIPHON_TSC, install with script/test");
  if (process.env.ANTIPHON_SKIP_LOG) appendFileSync(process.env.ANTIPHON_SKIP_LOG, "the TypeScript compiler\n");
}

test("what the guide shows compiles, typed sdk_02 sdk_03", { skip: compiler ? false : "needs ANTIPHON_TSC" }, () => {
  const given = `
    import { useConflicts, useDraft, useEntity, useMutate, useSyncStatus, useUndo } from "@antiphon/react";
    import { memo } from "react";
    declare const session: { userId: string; token(): Promise<string> };
  `;
  const entities = read("packages/react/tests/entities.ts").replace(/declare module[^]*/, "");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "entities.ts"), entities);
  writeFileSync(join(folder, "guide.tsx"), [given, ...snippets].join("\n"));
  const options = { extends: "../../tsconfig.json", compilerOptions: { noEmit: true, noUnusedLocals: false, rootDir: "..", declaration: false }, include: ["*.tsx"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(options));
  try {
    execFileSync(compiler, ["-p", folder], { encoding: "utf8", timeout: 120_000 });
  } catch (error) {
    assert.fail(error.stdout);
  }
});
