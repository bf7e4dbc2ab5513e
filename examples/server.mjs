// A server as an application has one: a folder of its own files, and Antiphon behind the same origin.
// usage: node examples/server.mjs FOLDER [PORT] [ADDRESS OF antiphon dev]

import { readdirSync, readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { extname, join } from "node:path";

const folder = process.argv[2];
const port = Number(process.argv[3] ?? 8080);
const antiphon = process.argv[4] ?? "http://127.0.0.1:7411";
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
  + "worker-src 'self'; require-trusted-types-for 'script'; trusted-types worker; base-uri 'none'; form-action 'none'; "
  + "frame-ancestors 'none'";
const KINDS = { ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".wasm": "application/wasm" };

const server = createServer((incoming, outgoing) => {
  const { pathname } = new URL(incoming.url, antiphon);
  if (/^\/(v1|sdk)\/|^\/dev\/session$/.test(pathname)) return pass(incoming, outgoing);
  const file = pathname === "/" ? "index.html" : pathname.slice(1);
  // What is not listed is not there, whatever the path says.
  const kind = readdirSync(folder, { recursive: true }).includes(file) && KINDS[extname(file)];
  if (!kind) return outgoing.writeHead(404).end();
  const headers = { "content-type": kind, "content-security-policy": POLICY, "cache-control": "no-cache" };
  outgoing.writeHead(200, headers).end(readFileSync(join(folder, file)));
});

/** Hands a request on, and the answer back as it comes: the stream of changes does not end. */
function pass(incoming, outgoing) {
  const headers = { ...incoming.headers, host: new URL(antiphon).host };
  const onward = request(antiphon + incoming.url, { method: incoming.method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers).flushHeaders();
    answer.pipe(outgoing);
    answer.on("error", () => outgoing.destroy());
  });
  onward.on("error", () => outgoing.destroy());
  outgoing.once("close", () => onward.destroy());
  incoming.pipe(onward);
}

// A WebSocket is handed on as it is.
server.on("upgrade", (incoming, socket, head) => {
  const headers = { ...incoming.headers, host: new URL(antiphon).host };
  const onward = request(antiphon + incoming.url, { headers });
  // A browser that goes away resets its socket, also before the server has answered.
  socket.on("error", () => onward.destroy());
  onward.on("upgrade", (answer, upstream, first) => {
    const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`);
    socket.write(first);
    upstream.write(head);
    upstream.pipe(socket).pipe(upstream);
    upstream.on("error", () => socket.destroy());
    socket.on("error", () => upstream.destroy());
  });
  onward.on("response", () => socket.destroy());
  onward.on("error", () => socket.destroy());
  onward.end();
});

server.listen(port, "127.0.0.1", () => console.log(`http://localhost:${server.address().port}/`));
