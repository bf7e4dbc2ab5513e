// docs/guide/tutorial.md from top to bottom: its files are written and its commands run as they stand there, and two
// browsers do what it tells the reader to do. Only ports and the database's names are this test's own.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { binary, findChromium, openPage, startChromium, startDev } from "../browser/browser.mjs";

const path = findChromium();
const skip = path ? false : "needs Chromium";
const clone = fileURLToPath(new URL("../../", import.meta.url));
const guide = readFileSync(join(clone, "docs/guide/tutorial.md"), "utf8");
const pieces = [...guide.matchAll(/^```(\w+) ?([^\n]*)\n(.*?)^```$/gms)].map(([, kind, name, text]) => ({ kind, name, text }));
const folder = mkdtempSync(join(tmpdir(), "antiphon-tutorial-"));
const ending = [];

after(async () => {
  for (const end of ending.reverse()) await end();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** Runs the pieces one after the other, as a reader does; what one exports, the next has. */
class Reader {
  #at = 0;
  #env;

  constructor(env) {
    this.#env = { ...process.env, ...env };
  }

  /** Reads on up to and with the next command that holds `text`; gives the process where it goes on. */
  upTo(text) {
    for (;;) {
      const piece = pieces[this.#at];
      assert.ok(piece, `the tutorial has no more commands with ${text}`);
      this.#at += 1;
      const done = piece.kind === "sh" && piece.text.includes(text);
      if (piece.kind !== "sh") writeFileSync(join(folder, "team", piece.name), piece.text);
      else if (piece.name === "background") return this.again(piece.text);
      else this.#run(piece.text);
      if (done) return undefined;
    }
  }

  get finished() {
    return this.#at === pieces.length;
  }

  /** Starts what goes on, and waits for the address that it prints. */
  async again(command, port = 0) {
    const words = command.trim().split(" ");
    if (words[0] === "npx") words.push("--host", "127.0.0.1", "--port", String(port));
    const child = spawn("bash", ["-c", `exec ${words.join(" ")}`], { cwd: join(folder, "team"), env: { ...this.#env, NO_COLOR: "1" }, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const gone = new Promise((resolve) => { child.once("exit", resolve); });
    const stop = () => {
      try { process.kill(-child.pid, "SIGTERM"); } catch { /* it ended already */ }
      return gone;
    };
    ending.push(stop);
    let said = "";
    const url = await new Promise((resolve, reject) => {
      const look = (line) => {
        said += `${line}\n`;
        const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
        if (found) resolve(`${found[0]}/`);
      };
      for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", look);
      child.once("exit", () => reject(new Error(`${command} ended: ${said}`)));
    });
    return { url, port: new URL(url).port, stop };
  }

  #run(text) {
    // The last line of what is printed is where it stands, and what it exported.
    const script = `set -euo pipefail\ncd "$PLACE"\n${text}\nprintf '\\0%s\\0' "$PWD"; env -0`;
    const said = execFileSync("bash", ["-c", script], { env: this.#env, encoding: "utf8", timeout: 300_000, stdio: ["ignore", "pipe", "pipe"] });
    const [, place, ...variables] = said.split("\0");
    for (const variable of variables.filter(Boolean)) {
      const at = variable.indexOf("=");
      if (!["_", "SHLVL"].includes(variable.slice(0, at))) this.#env[variable.slice(0, at)] = variable.slice(at + 1);
    }
    this.#env.PLACE = place;
  }
}

const titles = "[...document.querySelectorAll('li .title')].map(({ value }) => value)";
const has = (title) => `${titles}.includes('${title}')`;
const item = (title) => `[...document.querySelectorAll('li')].find((one) => one.querySelector('.title').value === '${title}')`;
const state = "document.querySelector('[role=status]')?.textContent";
const type = (element, text) => `(() => { const field = ${element}; field.focus(); field.select();
  document.execCommand('insertText', false, '${text}'); field.blur(); })()`;
const rename = (from, to) => type(`${item(from)}.querySelector('.title')`, to);

/** A port that is free now. */
const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

test("the tutorial leads from an empty database to a list that two edit, offline and in conflict sdk_05", { skip, timeout: 540_000 }, async () => {
  const dev = await startDev();
  ending.push(dev.stop);
  const chromium = await startChromium(path);
  ending.push(chromium.stop);
  symlinkSync(clone, join(folder, "antiphon"));
  mkdirSync(join(folder, "bin"));
  symlinkSync(binary(), join(folder, "bin/antiphon"));
  const postgres = dev.info.databaseUrl.replace(/\/[^/]*$/, "");
  const listen = `127.0.0.1:${await freePort()}`;
  const reader = new Reader({
    PLACE: folder, POSTGRES: postgres, PATH: [join(folder, "bin"), dirname(process.execPath), process.env.PATH].join(delimiter),
    // The cluster is that of `antiphon dev`, which has taken the names that are the default.
    ANTIPHON_DATABASE_SLOT: "team", ANTIPHON_DATABASE_LOG_URL: `${postgres}/team_log`,
    ANTIPHON_SERVER_LISTEN: listen, ANTIPHON: `http://${listen}`,
  });

  let server = await reader.upTo("antiphon serve");
  let site = await reader.upTo("npx vite");
  const alice = await openPage(chromium, site.url, 800);
  const bob = await openPage(chromium, `${site.url}?user=bob`, 800);
  for (const page of [alice, bob]) await page.until(`${has("Invite the team")} && ${has("Bring cake")} && ${state} === 'online'`);
  await alice.evaluate(rename("Invite the team", "Invite everybody"));
  await bob.until(has("Invite everybody"));
  await bob.evaluate(`${type("document.querySelector('form input')", "Balloons")}; document.querySelector('form button').click()`);
  await alice.until(has("Balloons"));
  reader.upTo("set done = true");
  for (const page of [alice, bob]) await page.until(`${item("Bring cake")}.querySelector('[type=checkbox]').checked`);

  // Offline: first the server, and with the built page everything.
  await server.stop();
  await alice.evaluate(rename("Balloons", "Many balloons"));
  await alice.until(`${state}?.includes('1 not sent yet')`);
  await alice.reload();
  await alice.until(`${has("Many balloons")} && ${state}?.includes('1 not sent yet')`);
  server = await reader.again("antiphon serve");
  await bob.until(has("Many balloons"));
  await site.stop();
  site = await reader.upTo("npx vite preview");
  const built = await openPage(chromium, site.url, 800);
  await built.until(`${has("Many balloons")} && ${state} === 'online'`);
  await built.evaluate("navigator.serviceWorker.ready.then(() => undefined)");
  await Promise.all([site.stop(), server.stop()]);
  await built.reload();
  await built.until(has("Many balloons"));
  await built.evaluate(rename("Bring cake", "Bring pie"));
  await built.until(`${state}?.includes('1 not sent yet')`);

  reader.upTo("Bring two cakes");
  assert.equal(reader.finished, true, "nothing of the page was left out");
  server = await reader.again("antiphon serve");
  site = await reader.again("npx vite preview", site.port);
  await built.until("document.querySelector('.conflict')?.textContent.includes('somebody wrote “Bring two cakes”')");
  await built.evaluate("document.querySelector('.conflict button').click()");
  await built.until(`!document.querySelector('.conflict') && ${state} === 'online'`);
  const again = await openPage(chromium, `${site.url}?user=bob`, 800);
  await again.until(has("Bring pie"));
});
