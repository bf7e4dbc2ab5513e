// A site that uses the SDK, as an application's own server would: its page, the SDK's files, and the API behind the same
// origin. Law: what it cuts is the network to Antiphon only, and it counts what goes through; the page is always there.

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { join } from "node:path";
import { Transform } from "node:stream";
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
const query = new URLSearchParams(location.search);
const user = query.get("user") ?? "alice";
const antiphon = await import(query.get("build") === "layout-2" ? "/client-of-layout-2.js" : "/client.js");
window.tokensAsked = 0;
const getToken = async () => {
  window.tokensAsked += 1;
  const answer = await fetch("/token/" + user);
  if (!answer.ok) throw new Error("signed out");
  return answer.text();
};
const storage = query.get("build") === "newer" ? (await import("/newer-build.mjs")).openNewer(antiphon) : undefined;
const client = antiphon.createClient({ url: location.origin, user, getToken, storage });
const acme = await client.org(query.get("org") ?? "acme");
const pages = acme.collection("page");
if (!query.has("bare")) {
  pages.query({ where: { archived: false }, order: ["title"] }).subscribe((shown) => { window.shown = shown; });
}
Object.assign(window, { antiphon, client, acme, pages, tasks: acme.collection("task") });
`;
const FILES = {
  "/": ["text/html; charset=utf-8", () => PAGE],
  "/icon": ["image/svg+xml", () => "<svg xmlns='http://www.w3.org/2000/svg'/>"],
  "/page.js": ["text/javascript", () => SCRIPT],
  "/store-law.mjs": ["text/javascript", () => readFileSync(join(bundle, "../tests/store-law.mjs"))],
  "/newer-build.mjs": ["text/javascript", () => readFileSync(new URL("newer-build.mjs", import.meta.url))],
  "/client.js": ["text/javascript", () => readFileSync(join(bundle, "client.js"))],
  // A build whose databases have a newer layout.
  "/client-of-layout-2.js": ["text/javascript", () => newerLayout(readFileSync(join(bundle, "client.js"), "utf8"))],
  "/core_bg.wasm": ["application/wasm", () => readFileSync(join(bundle, "core_bg.wasm"))],
};

function newerLayout(text) {
  const opened = text.replace(/(indexedDB\.open\([^,()]+,)1\)/, "$12)");
  const newer = opened.replace(/(\w+\.result)\.createObjectStore\((\w+)\)/, "$1.objectStoreNames.contains($2)||$&");
  if (newer === opened || opened === text) throw new Error("the bundle opens its databases in another way than this test knows");
  return newer;
}

/** Starts the site before the API of `info`; `more` are files of its own, which stand in for those above: kind, text, policy. */
export async function startSite(info, more = {}) {
  const site = {
    files: more, api: info.api, cut: false, buffers: false, strips: false, halves: 0, upgraded: new Set(), streams: new Set(), streamsMax: 0,
    asked: [], tokens: { ...info.tokens },
  };
  const sockets = new Set();
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url.split("?")[0];
    if (path.startsWith("/v1/")) return pass(site, incoming, outgoing);
    if (path.startsWith("/token/")) return handOut(site.tokens[path.slice("/token/".length)], outgoing);
    if (site.cut && path.startsWith("/dev/")) return incoming.socket.destroy();
    const file = more[path] ?? FILES[path];
    if (!file) return outgoing.writeHead(404).end();
    outgoing.writeHead(200, { "content-type": file[0], "content-security-policy": file[2] ?? POLICY, "cache-control": "no-store" });
    outgoing.end(file[1]());
  });
  server.on("upgrade", (incoming, socket, head) => {
    // From here on the socket is ours, and a browser that goes away resets it: nobody else hears of that.
    socket.on("error", () => socket.destroy());
    if (site.cut) return socket.destroy();
    site.asked.push(`${incoming.method} ${incoming.url}`);
    // As a proxy does that knows nothing of upgrades, or answers in the server's stead.
    const refused = site.strips || site.instead?.(incoming.method, incoming.url);
    if (refused) return socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    upgrade(site, incoming, socket, head);
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
    /** Says what a server says that stops, on every WebSocket. */
    shutDown() {
      const notice = JSON.stringify({ kind: "notice", code: "disconnect_notice", reason: "shutdown", retryAfterMs: 500 });
      for (const socket of site.upgraded) socket.end(Buffer.concat([frame(1, Buffer.from(notice)), frame(8, Buffer.from([3, 233]))]));
    },
    // What a proxy answers in the server's stead: `instead(method, url)` gives `{ status, headers, body }`, or nothing.
    instead: undefined,
    // Whether an answer is cut in half: `shorten(method, url)`.
    shorten: undefined,
    mendNetwork() { Object.assign(site, { cut: false, buffers: false, strips: false, halves: 0, instead: undefined, shorten: undefined }); },
    stop: () => new Promise((resolve) => { server.close(resolve); for (const socket of sockets) socket.destroy(); }),
  });
}

/** A short frame of WebSocket, as a server sends it (RFC 6455). */
const frame = (kind, bytes) => Buffer.concat([Buffer.from([0x80 | kind, bytes.length]), bytes]);

function upgrade(site, incoming, socket, head) {
  const onward = request(site.api + incoming.url, { headers: incoming.headers });
  onward.on("upgrade", (answer, upstream, first) => {
    const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`);
    const end = () => socket.destroy();
    site.upgraded.add(socket);
    count(site, end, socket);
    upstream.write(head);
    socket.write(first);
    upstream.pipe(halving(site, socket)).pipe(socket).pipe(upstream);
    upstream.on("error", end);
    socket.once("close", () => { upstream.destroy(); site.upgraded.delete(socket); });
  });
  onward.on("response", () => socket.destroy());
  onward.on("error", () => socket.destroy());
  onward.end();
}

/** Cuts what goes through in the middle of a frame, where it is told to. */
const halving = (site, goes) => new Transform({
  transform(chunk, _encoding, done) {
    if (site.halves === 0 || chunk.length < 300) return void done(null, chunk);
    site.halves -= 1;
    goes.write(chunk.subarray(0, chunk.length / 2), () => goes.destroy());
  },
});

/** A stream is open until `goes` closes. */
function count(site, end, goes) {
  site.streams.add(end);
  site.streamsMax = Math.max(site.streamsMax, site.streams.size);
  goes.once("close", () => site.streams.delete(end));
}

/** Gives a token, or one made for whoever asks; null is somebody who is signed out. */
function handOut(token, outgoing) {
  const given = typeof token === "function" ? token() : token;
  if (given === null || given === undefined) return outgoing.writeHead(403).end();
  return outgoing.end(given);
}

function pass(site, incoming, outgoing) {
  if (site.cut) return incoming.socket.destroy();
  site.asked.push(`${incoming.method} ${incoming.url}`);
  const instead = site.instead?.(incoming.method, incoming.url);
  if (instead) return outgoing.writeHead(instead.status, { "content-type": "text/html", ...instead.headers }).end(instead.body);
  const onward = request(site.api + incoming.url, { method: incoming.method, headers: incoming.headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    outgoing.flushHeaders();
    answer.on("error", () => outgoing.destroy());
    const stream = incoming.url.includes("live=sse");
    if (answer.statusCode === 200 && stream) count(site, () => outgoing.destroy(), outgoing);
    // As a proxy does that keeps an answer until it is whole.
    if (stream && site.buffers) return void answer.resume();
    if (site.shorten?.(incoming.method, incoming.url)) {
      answer.once("data", (part) => outgoing.write(part.subarray(0, part.length / 2), () => outgoing.destroy()));
      return;
    }
    (stream ? answer.pipe(halving(site, outgoing)) : answer).pipe(outgoing);
  });
  onward.on("error", () => outgoing.destroy());
  incoming.on("error", () => onward.destroy());
  outgoing.once("close", () => onward.destroy());
  incoming.pipe(onward);
}
