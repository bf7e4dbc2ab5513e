// Firefox and WebKitGTK by WebDriver's commands: Firefox over Marionette, its own port for them (what geckodriver passes
// on), WebKitGTK by its driver over HTTP. Law: as with Chromium, a missing browser is a counted skip, and a failure where
// CI is set; what is started here ends with the test.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { end, missing, onPath } from "./browser.mjs";

const DEADLINE_MS = 60_000;
const POLL_MS = 50;

/** Finds Firefox, or says and counts that it is missing. */
export function findFirefox() {
  const found = process.env.ANTIPHON_FIREFOX || ["firefox", "firefox-esr"].map(onPath).find(Boolean);
  return found ?? missing("Firefox", "apt-get install firefox-esr");
}

/** Finds what WebKitGTK needs: its driver, its small browser and a display, or says and counts that they are missing. */
export function findWebKit() {
  const folder = "/usr/lib/x86_64-linux-gnu";
  const driver = onPath("WebKitWebDriver");
  const browser = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith("webkit2gtk-4"))
    .map((name) => join(folder, name, "MiniBrowser")).find((path) => existsSync(path)) : undefined;
  const display = onPath("Xvfb");
  if (driver && browser && display) return { driver, browser, display };
  return missing("WebKitGTK's driver", "apt-get install webkit2gtk-driver xvfb");
}

/** Starts Firefox, and opens a session in it. */
export async function startFirefox(path) {
  const profile = mkdtempSync(join(tmpdir(), "antiphon-firefox-"));
  writeFileSync(join(profile, "user.js"), 'user_pref("marionette.port", 0);\nuser_pref("datareporting.policy.dataSubmissionEnabled", false);\n');
  const env = { ...process.env, HOME: profile, MOZ_HEADLESS: "1" };
  const child = spawn(path, ["--headless", "--marionette", "--no-remote", "--profile", profile, "about:blank"], { env, stdio: "ignore" });
  const file = join(profile, "MarionetteActivePort");
  await until(() => existsSync(file) && readFileSync(file, "utf8").trim() !== "", "Firefox did not start");
  const command = await marionette(Number(readFileSync(file, "utf8")));
  await command("WebDriver:NewSession", { capabilities: {} });
  await command("WebDriver:SetTimeouts", { script: DEADLINE_MS });
  return page({
    go: (url) => command("WebDriver:Navigate", { url }),
    run: async (script) => (await command("WebDriver:ExecuteAsyncScript", { script, args: [], sandbox: null })).value,
    reload: () => command("WebDriver:Refresh", {}),
    stop: () => ended(child, profile),
  });
}

/** Speaks Marionette: each message is its length, a colon, and JSON. */
async function marionette(port) {
  const socket = createConnection(port, "127.0.0.1");
  const pending = new Map();
  let [rest, number] = [Buffer.alloc(0), 0];
  const greeted = new Promise((resolve, reject) => { pending.set("greeting", { resolve }); socket.once("error", reject); });
  socket.on("data", (part) => {
    rest = Buffer.concat([rest, part]);
    for (;;) {
      const colon = rest.indexOf(":");
      const end = colon + 1 + Number(rest.subarray(0, Math.max(0, colon)));
      if (colon < 0 || rest.length < end) return;
      const message = JSON.parse(rest.subarray(colon + 1, end));
      rest = rest.subarray(end);
      if (!Array.isArray(message)) { pending.get("greeting").resolve(); continue; }
      const [, id, error, result] = message;
      const waiting = pending.get(id);
      pending.delete(id);
      if (error) waiting.reject(new Error(error.message));
      else waiting.resolve(result);
    }
  });
  await greeted;
  return (name, parameters) => new Promise((resolve, reject) => {
    number += 1;
    pending.set(number, { resolve, reject });
    const text = JSON.stringify([0, number, name, parameters]);
    socket.write(`${Buffer.byteLength(text)}:${text}`);
  });
}

/** Starts WebKitGTK's small browser on a display that nobody sees. */
export async function startWebKit({ driver, browser, display }) {
  const screen = spawn(display, ["-displayfd", "3", "-screen", "0", "1280x900x24", "-nolisten", "tcp"], { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  const number = await new Promise((resolve, reject) => {
    screen.stdio[3].once("data", (text) => resolve(String(text).trim()));
    screen.once("exit", (code) => reject(new Error(`Xvfb ended with ${code}`)));
  });
  const home = mkdtempSync(join(tmpdir(), "antiphon-webkit-"));
  const port = await freePort();
  const env = { ...process.env, HOME: home, XDG_RUNTIME_DIR: home, DISPLAY: `:${number}`, GDK_BACKEND: "x11", NO_AT_BRIDGE: "1" };
  const child = spawn(driver, [`--port=${port}`], { env, stdio: "ignore" });
  const ask = async (path, body) => {
    const init = { method: body ? "POST" : "GET", body: body && JSON.stringify(body) };
    const { value } = await (await fetch(`http://127.0.0.1:${port}${path}`, init)).json();
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  await until(() => ask("/status").then(() => true, () => false), "WebKitWebDriver did not start");
  const options = { binary: browser, args: ["--automation"] };
  const { sessionId } = await ask("/session", { capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } } });
  const session = (path, body) => ask(`/session/${sessionId}${path}`, body);
  await session("/timeouts", { script: DEADLINE_MS });
  return page({
    go: (url) => session("/url", { url }),
    run: (script) => session("/execute/async", { script, args: [] }),
    reload: () => session("/refresh", {}),
    async stop() {
      await fetch(`http://127.0.0.1:${port}/session/${sessionId}`, { method: "DELETE" }).catch(() => undefined);
      await ended(child, home);
      await ended(screen);
    },
  });
}

/** What tests do with a page, by what each browser can. */
function page({ go, run, reload, stop }) {
  const evaluate = async (expression) => {
    const said = await run(`const tell = arguments[arguments.length - 1];
      (async () => (${expression}))().then((value) => tell({ value: JSON.stringify(value) ?? "null" }), (error) => tell({ error: String(error) }));`);
    if (said.error) throw new Error(said.error);
    return JSON.parse(said.value);
  };
  return {
    go,
    evaluate,
    reload,
    stop,
    until: (expression) => until(() => evaluate(expression).catch(() => false), `it never came true: ${expression}`),
  };
}

async function until(condition, complaint) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(complaint);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function ended(child, folder) {
  await end(child);
  try {
    if (folder) rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  } catch {
    // A helper process of it still writes there; the folder is a temporary one.
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
