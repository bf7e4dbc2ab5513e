// A real Chromium, driven over its debugging pipe, and the real binary; nothing but Node is needed.
// Law: what a test starts ends with it. A missing Chromium is a counted skip, and a failure where CI is set.

import { spawn, execFileSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const DEADLINE_MS = 60_000;
const EXAMPLES_SERVER = fileURLToPath(new URL("../../examples/server.mjs", import.meta.url));

/** Finds a program by its name. */
export function onPath(name) {
  return (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Says that `what` is missing, and counts the skip; fails in CI. */
export function missing(what, install) {
  if (process.env.CI === "true") throw new Error(`needs ${what}, install with ${install}`);
  console.log(`skipped: needs ${what}, install with ${install}`);
  if (process.env.ANTIPHON_SKIP_LOG) appendFileSync(process.env.ANTIPHON_SKIP_LOG, `${what}\n`);
  return undefined;
}

/** Finds Chromium; without one, says so, counts the skip, and returns undefined. */
export function findChromium() {
  const named = process.env.ANTIPHON_CHROMIUM;
  const found = named || ["chromium", "chromium-browser", "google-chrome"].map(onPath).find(Boolean);
  return found ?? missing("Chromium", "apt-get install chromium");
}

/** The program: as the environment says, or as cargo builds it. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? join(homedir(), ".cache/antiphon-target");
  const path = process.env.ANTIPHON_BIN ?? join(target, "debug/antiphon");
  if (!existsSync(path)) execFileSync("cargo", ["build", "--locked", "-p", "antiphon-cli"], { stdio: "inherit" });
  return path;
}

/** Starts `antiphon dev` on a free port and waits for its line; more options may be given. */
export async function startDev(...options) {
  const state = mkdtempSync(join(tmpdir(), "antiphon-browser-"));
  const env = { ...process.env, XDG_STATE_HOME: state };
  const run = (port) => startProgram(["dev", "--json", "--port", String(port), ...options], env);
  let running = await run(0);
  const { info } = running;
  // What an operator types, at this server; answers with the JSON that it printed.
  const operate = (...words) => {
    const said = execFileSync(binary(), [...words, "--json"], { env, cwd: state, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return said.trim() === "" ? undefined : JSON.parse(said);
  };
  const pause = () => running.stop();
  // It is there again at the same address, where its data were kept with `--data`.
  const resume = async () => { running = await run(new URL(info.api).port); };
  const stop = async () => {
    const code = await running.stop();
    rmSync(state, { recursive: true, force: true });
    return code;
  };
  return { info, operate, pause, resume, stop };
}

/** Ends a program, if it has not ended by itself, and returns its code; one that does not listen is killed. */
export async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = new Promise((resolve) => { child.once("exit", resolve); });
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
  const code = await ended;
  clearTimeout(late);
  return code;
}

/** Starts the program, and waits for the line of JSON that says that it is there. */
export async function startProgram(words, env, cwd = undefined) {
  const child = spawn(binary(), words, { env, cwd, stdio: ["ignore", "pipe", "pipe"] });
  let talk = "";
  child.stderr.on("data", (text) => { talk += text; });
  const line = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`antiphon ${words[0]} did not start: ${talk}`)), DEADLINE_MS);
    createInterface({ input: child.stdout }).once("line", (text) => { clearTimeout(late); resolve(text); });
    child.once("exit", (code) => { clearTimeout(late); reject(new Error(`antiphon ${words[0]} ended with ${code}: ${talk}`)); });
  });
  return { info: JSON.parse(line), stop: () => end(child) };
}

/** Starts another server beside `antiphon dev`, over the same log, on a free port, and waits until it serves. */
export async function startServe(info, settings) {
  const env = { ...process.env, ANTIPHON_DATABASE_URL: info.databaseUrl, ANTIPHON_SERVER_LISTEN: "127.0.0.1:0", ...settings };
  const child = spawn(binary(), ["serve"], { env, stdio: ["ignore", "pipe", "pipe"] });
  let talk = "";
  const api = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`antiphon serve did not start: ${talk}`)), DEADLINE_MS);
    const hear = (text) => {
      talk += text;
      const address = /http:\/\/127\.0\.0\.1:\d+/.exec(talk)?.[0];
      if (address && talk.includes("serving")) { clearTimeout(late); resolve(address); }
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("exit", (code) => { clearTimeout(late); reject(new Error(`antiphon serve ended with ${code}: ${talk}`)); });
  });
  return { api, stop: () => end(child) };
}

/** Starts the server of the examples for a folder, with the API at `api` behind it, and waits until it says its address. */
export async function startServer(folder, api, port = 0, file = EXAMPLES_SERVER) {
  const child = spawn(process.execPath, [file, folder, String(port), api], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => { child.once("exit", resolve); });
  process.once("exit", () => child.kill());
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`the example's server ended with ${code}`)));
  });
  // A test that fails before it stops it must end as well.
  child.unref();
  child.stdout.unref();
  return { url, port: new URL(url).port, stop: () => { child.ref(); child.kill(); return ended; } };
}

/** Starts Chromium, with a person's preferences, and returns a way to open pages in it. */
export async function startChromium(path, preferences = undefined) {
  const profile = mkdtempSync(join(tmpdir(), "antiphon-chromium-"));
  if (preferences) {
    mkdirSync(join(profile, "Default"));
    writeFileSync(join(profile, "Default/Preferences"), JSON.stringify(preferences));
  }
  const flags = ["--headless=new", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
  if (process.getuid?.() === 0) flags.push("--no-sandbox");
  const child = spawn(path, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const [, , , input, output] = child.stdio;
  const pending = new Map();
  const heard = [];
  const listeners = new Set();
  let rest = "";
  let number = 0;
  output.setEncoding("utf8");
  output.on("data", (text) => {
    rest += text;
    const messages = rest.split("\0");
    rest = messages.pop();
    for (const message of messages.map((part) => JSON.parse(part))) {
      const waiting = pending.get(message.id);
      if (!waiting) {
        heard.push(message);
        for (const listener of listeners) listener(message);
      }
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
  const stop = async () => {
    await end(child);
    try {
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    } catch {
      // A helper process of it still writes there; the folder is a temporary one.
    }
  };
  return { send, heard, listeners, stop };
}

/** Opens a page of a given width; the script `first` runs before those of the page, at each load. */
export async function openPage(chromium, url, width, first = "", browserContextId = undefined) {
  const { targetId } = await chromium.send("Target.createTarget", { url: "about:blank", browserContextId });
  const page = await attach(chromium, targetId);
  await page.send("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: false });
  if (first !== "") await page.send("Page.addScriptToEvaluateOnNewDocument", { source: first });
  await page.send("Page.navigate", { url });
  return page;
}

/** Takes hold of a page that is there already. */
export async function attach(chromium, targetId) {
  const { sessionId } = await chromium.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method, params) => chromium.send(method, params, sessionId);
  await Promise.all([send("Runtime.enable"), send("Log.enable"), send("Page.enable")]);
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
    // What the browser only remarks is no complaint: that a page keeps the offer to be installed, for one.
    .filter(({ params }) => params.entry?.level !== "info")
    .map((event) => JSON.stringify(event.params));
  const onEvent = (method, act) => chromium.listeners.add((event) => {
    if (event.sessionId === sessionId && event.method === method) act(event.params);
  });
  const reload = async () => {
    await evaluate("window.before = true");
    await send("Page.reload");
    await until("window.before === undefined");
  };
  const close = () => chromium.send("Target.closeTarget", { targetId });
  // A page that crashes does not answer any more, this call among all others.
  const crash = async () => { void send("Page.crash").catch(() => undefined); };
  return { targetId, evaluate, until, complaints, onEvent, reload, close, crash, send };
}
