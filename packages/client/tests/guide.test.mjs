// The snippets of the guides to the SDK and to testing: what runs in Node is run, and what is typed is compiled.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const read = (page) => readFileSync(new URL(`../../../docs/guide/${page}`, import.meta.url), "utf8");
// Inside the package, so that its own name leads to it.
const folder = fileURLToPath(new URL("../dist/guide", import.meta.url));
const snippets = (page, language) => (
  [...read(page).matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "gs"))].map(([, text]) => text));
mkdirSync(folder, { recursive: true });

test("the tests of the guide run, and all of them hold sdk_07", () => {
  const pieces = snippets("testing-your-application.md", "js");
  const file = join(folder, "testing.test.mjs");
  writeFileSync(file, pieces.join("\n"));
  // Not a part of this run: its sums are read here.
  const { NODE_TEST_CONTEXT, ...env } = process.env;
  const told = execFileSync(process.execPath, ["--test", "--test-reporter=tap", file], { encoding: "utf8", timeout: 60_000, env });
  assert.match(told, new RegExp(`^# pass ${pieces.length - 1}$`, "m"));
  assert.match(told, /^# fail 0$/m);
});

const compiler = process.env.ANTIPHON_TSC;
if (!compiler) {
  if (process.env.CI === "true") throw new Error("needs ANTIPHON_TSC, which script/test sets");
  console.log("skipped: needs the TypeScript compiler in ANTIPHON_TSC, install with script/test");
  if (process.env.ANTIPHON_SKIP_LOG) appendFileSync(process.env.ANTIPHON_SKIP_LOG, "the TypeScript compiler\n");
}

test("what the guide shows typed compiles sdk_02", { skip: compiler ? false : "needs ANTIPHON_TSC" }, () => {
  const given = `
    declare const session: { userId: string };
    declare function render(rows: readonly { title: string | null }[], complete: boolean): void;
    declare function show(...sides: unknown[]): void;
  `;
  const entities = `export interface Entities { task: {
    id: string; organization_id: string; title: string | null; status: string | null; priority: number | null;
    due_on: string | null; votes: number | null; labels: (string | null)[] | null } }`;
  const [setup, edits, conflicts, leaving, ...more] = snippets("sdk.md", "ts");
  assert.deepEqual(more, []);
  const decided = conflicts.replace("acme.resolve(", "const [conflict] = acme.conflicts();\nif (conflict) acme.resolve(");
  writeFileSync(join(folder, "entities.ts"), entities);
  writeFileSync(join(folder, "guide.ts"), [setup, given, edits, decided, leaving].join("\n"));
  const options = { extends: "../../tsconfig.json", compilerOptions: { noEmit: true, noUnusedLocals: false, rootDir: "..", declaration: false }, include: ["*.ts"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(options));
  try {
    execFileSync(compiler, ["-p", folder], { encoding: "utf8", timeout: 120_000 });
  } catch (error) {
    assert.fail(error.stdout);
  }
});
