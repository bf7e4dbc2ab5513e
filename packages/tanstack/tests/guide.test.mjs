// The snippets of docs/guide/tanstack.md compile as they stand there; the browser test shows that such components run.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const guide = readFileSync(new URL("../../../docs/guide/tanstack.md", import.meta.url), "utf8");
const folder = fileURLToPath(new URL("../dist/guide", import.meta.url));
const compiler = process.env.ANTIPHON_TSC;
if (!compiler) {
  if (process.env.CI === "true") throw new Error("needs ANTIPHON_TSC, which script/test sets");
  console.log("skipped: needs the TypeScript compiler in ANTIPHON_TSC, install with script/test");
  if (process.env.ANTIPHON_SKIP_LOG) appendFileSync(process.env.ANTIPHON_SKIP_LOG, "the TypeScript compiler\n");
}

test("what the guide shows compiles sdk_08", { skip: compiler ? false : "needs ANTIPHON_TSC" }, () => {
  mkdirSync(folder, { recursive: true });
  const snippets = [...guide.matchAll(/```tsx\n(.*?)```/gs)].map(([, text]) => text);
  assert.equal(snippets.length, 3);
  const given = "declare const session: { userId: string };\ndeclare function getToken(): Promise<string>;\nexport { Title, Count };\n";
  const entities = "export interface Entities { task: { id: string; title: string | null; status: string | null; priority: number | null } }";
  writeFileSync(join(folder, "entities.ts"), entities);
  writeFileSync(join(folder, "guide.tsx"), [...snippets, given].join("\n"));
  const options = {
    extends: "../../tsconfig.json", include: ["*.ts", "*.tsx"], exclude: [],
    compilerOptions: { noEmit: true, rootDir: "../..", declaration: false, jsx: "react-jsx", types: ["react"] },
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(options));
  try {
    execFileSync(compiler, ["-p", folder], { encoding: "utf8", timeout: 120_000 });
  } catch (error) {
    assert.fail(error.stdout);
  }
});
