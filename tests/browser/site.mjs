// A site that uses the SDK, as an application's own server would: its page, the SDK's files, and the API behind the same
// origin. Law: what it cuts is the network to Antiphon only, and it counts what goes through; the page is always there.

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const bundle = fileURLToPath(new URL("../../packages/client/bundle", import.meta.url));

/** Tells whether the SDK was built; where it was not, says so and counts the skip. */
export function findSdk() {
  if (existsSync(join(bundle, "client.js"))) return true;
  if (process.env.CI === "true") throw new Error("needs the built SDK, build it with script/sdk");
  console.log("skipped: needs the built SDK, install with script/sdk");
  if (process.env.ANTIPHON_SKIP_LOG) appendFileSync(process.env.ANTIPHON_SKIP_LOG, "the built SDK\n");
  return false;
}

// Nothing beyond one's own files but compiling WebAssembly, and no text becomes code.
const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; require-trusted-types-for 'script'";

const PAGE = `<!doctype html><title>site</title><link rel=icon href=/icon><script type=module src=/page.js></script>`;
const SCRIPT = `
import * as antiphon from "/client.js";
const user = new URLSearchParams(location.search).get("user") ?? "alice";
window.tokensAsked = 0;
const getToken = async () => { window.tokensAsked += 1; return (await fetch("/token/" + user)).text(); };
const client = antiphon.createClient({ url: location.origin, user, getToken });
const acme = await client.org("acme");
const pages = acme.collection("page");
pages.query({ where: { archived: false }, order: ["title"] }).subscribe((shown) => { window.shown = shown; });
Object.assign(window, { antiphon, client, acme, pages, tasks: acme.collection("task") });
`;
const FILES = {
  "/": ["text/html; charset=utf-8", () => PAGE],
  "/icon": ["image/svg+xml", () => "<svg xmlns='http://www.w3.org/2000/svg'/>"],
  "/page.js": ["text/javascript", () => SCRIPT],
  "/store-law.mjs": ["text/javascript", () => readFileSync(join(bundle, "../tests/store-law.mjs"))],
  "/client.js": ["text/javascript", () => readFileSync(join(bundle, "client.js"))],
  "/core_bg.wasm": ["application/wasm", () => readFileSync(join(bundle, "core_bg.wasm"))],
};

/** Starts the site before the API of `info`. */
export async function startSite(info) {
  const site = { cut: false, streams: new Set(), streamsMax: 0, asked: [], tokens: { ...info.tokens } };
  const sockets = new Set();
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url.split("?")[0];
    if (path.startsWith("/v1/")) return pass(site, info.api, incoming, outgoing);
    if (path.startsWith("/token/")) return outgoing.end(site.tokens[path.slice("/token/".length)]);
    const file = FILES[path];
    if (!file) return outgoing.writeHead(404).end();
    outgoing.writeHead(200, { "content-type": file[0], "content-security-policy": POLICY, "cache-control": "no-store" });
    outgoing.end(file[1]());
  });
  server.on("connection", (socket) => { sockets.add(socket); socket.once("close", () => sockets.delete(socket)); });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  return Object.assign(site, {
    // A name is a site of its own: each test has its own storage in the browser.
    url: (name) => `http://${name}.localhost:${port}/`,
    cutNetwork() {
      site.cut = true;
      for (const end of site.streams) end();
    },
    mendNetwork() { site.cut = false; },
    stop: () => new Promise((resolve) => { server.close(resolve); for (const socket of sockets) socket.destroy(); }),
  });
}

function pass(site, api, incoming, outgoing) {
  if (site.cut) return incoming.socket.destroy();
  site.asked.push(`${incoming.method} ${incoming.url}`);
  const onward = request(api + incoming.url, { method: incoming.method, headers: incoming.headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    outgoing.flushHeaders();
    if (answer.statusCode === 200 && incoming.url.includes("/live?")) {
      const end = () => outgoing.destroy();
      site.streams.add(end);
      site.streamsMax = Math.max(site.streamsMax, site.streams.size);
      outgoing.once("close", () => site.streams.delete(end));
    }
    answer.pipe(outgoing);
    answer.on("error", () => outgoing.destroy());
  });
  onward.on("error", () => outgoing.destroy());
  outgoing.once("close", () => onward.destroy());
  incoming.pipe(onward);
}
