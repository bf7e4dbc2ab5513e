// A real Chromium, driven over its debugging pipe, and the real binary; nothing but Node is needed.
// Law: what a test starts ends with it. A missing Chromium is a counted skip, and a failure where CI is set.

import { spawn, execFileSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

const DEADLINE_MS = 60_000;

function onPath(name) {
  return (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Finds Chromium; without one, says so, counts the skip, and returns undefined. */
export function findChromium() {
  const named = process.env.ANTIPHON_CHROMIUM;
  const found = named || ["chromium", "chromium-browser", "google-chrome"].map(onPath).find(Boolean);
  if (found) return found;
  if (process.env.CI === "true") throw new Error("needs Chromium, install with apt-get install chromium");
  console.log("skipped: needs Chromium, install with apt-get install chromium");
  if (process.env.ANTIPHON_SKIP_LOG) appendFileSync(process.env.ANTIPHON_SKIP_LOG, "Chromium\n");
  return undefined;
}

function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(homedir(), ".cache/antiphon-target");
  const path = process.env.ANTIPHON_BIN ?? join(target, "debug/antiphon");
  if (!existsSync(path)) execFileSync("cargo", ["build", "--locked", "-p", "antiphon-cli"], { stdio: "inherit" });
  return path;
}

/** Starts `antiphon dev` on a free port and waits for its line. */
export async function startDev() {
  const state = mkdtempSync(join(tmpdir(), "antiphon-browser-"));
  const child = spawn(binary(), ["dev", "--json", "--port", "0"], {
    env: { ...process.env, XDG_STATE_HOME: state },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let talk = "";
  child.stderr.on("data", (text) => { talk += text; });
  const line = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`antiphon dev did not start: ${talk}`)), DEADLINE_MS);
    createInterface({ input: child.stdout }).once("line", (text) => { clearTimeout(late); resolve(text); });
    child.once("exit", (code) => { clearTimeout(late); reject(new Error(`antiphon dev ended with ${code}: ${talk}`)); });
  });
  const stop = () => new Promise((resolve) => {
    child.once("exit", (code) => { rmSync(state, { recursive: true, force: true }); resolve(code); });
    child.kill("SIGTERM");
  });
  return { info: JSON.parse(line), stop };
}

/** Starts Chromium and returns a way to open pages in it. */
export async function startChromium(path) {
  const profile = mkdtempSync(join(tmpdir(), "antiphon-chromium-"));
  const flags = ["--headless=new", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
  if (process.getuid?.() === 0) flags.push("--no-sandbox");
  const child = spawn(path, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const [, , , input, output] = child.stdio;
  const pending = new Map();
  const heard = [];
  let rest = "";
  let number = 0;
  output.setEncoding("utf8");
  output.on("data", (text) => {
    rest += text;
    const messages = rest.split("\0");
    rest = messages.pop();
    for (const message of messages.map((part) => JSON.parse(part))) {
      const waiting = pending.get(message.id);
      if (!waiting) heard.push(message);
      else if (message.error) waiting.reject(new Error(message.error.message));
      else waiting.resolve(message.result);
      pending.delete(message.id);
    }
  });
  const send = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
    number += 1;
    pending.set(number, { resolve, reject });
    input.write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
  });
  const stop = () => new Promise((resolve) => {
    child.once("exit", () => { rmSync(profile, { recursive: true, force: true, maxRetries: 5 }); resolve(); });
    child.kill();
  });
  return { send, heard, stop };
}

/** Opens a page of a given width. */
export async function openPage(chromium, url, width) {
  const { targetId } = await chromium.send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await chromium.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method, params) => chromium.send(method, params, sessionId);
  await Promise.all([send("Runtime.enable"), send("Log.enable"), send("Page.enable")]);
  await send("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: false });
  await send("Page.navigate", { url });
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  // Polls a condition up to a deadline.
  const until = async (expression) => {
    const end = Date.now() + DEADLINE_MS;
    for (;;) {
      if (await evaluate(expression).catch(() => false)) return;
      if (Date.now() > end) throw new Error(`it never came true: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const complaints = () => chromium.heard
    .filter((event) => event.sessionId === sessionId && ["Log.entryAdded", "Runtime.exceptionThrown"].includes(event.method))
    .map((event) => JSON.stringify(event.params));
  const reload = async () => {
    await evaluate("window.before = true");
    await send("Page.reload");
    await until("window.before === undefined");
  };
  const close = () => chromium.send("Target.closeTarget", { targetId });
  // A page that crashes does not answer any more, this call among all others.
  const crash = async () => { void send("Page.crash").catch(() => undefined); };
  return { evaluate, until, complaints, reload, close, crash, send };
}
