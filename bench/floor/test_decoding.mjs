// The floor of `script/bench streams`: a fan-out of test_decoding to plain server-sent events, in 60 lines.
//
// It stands for what a team writes in an afternoon: no log of its own, no rights, no resume, one organisation. Rows are
// on their way before anything of ours would be durable. pg_recvlogical speaks the replication protocol for it, so that
// no package is needed; its output is a pipe, and each change is one line.
//
// usage: node test_decoding.mjs PG_RECVLOGICAL DATABASE_URL SLOT
import { spawn } from "node:child_process";
import { createServer } from "node:http";

const [, , program, url, slot] = process.argv;
const clients = new Set();
let id = 0;

// `table public.items: INSERT: id[bigint]:1 title[text]:'it''s'`
const CHANGE = /^table ([^:]+): (INSERT|UPDATE|DELETE): (.*)$/s;
const COLUMN = /(\w+)\[([^\]]+)\]:('(?:[^']|'')*'|\S+)/g;

function row(text) {
  const fields = {};
  for (const [, name, , value] of text.matchAll(COLUMN)) {
    fields[name] = value.startsWith("'") ? value.slice(1, -1).replaceAll("''", "'") : value === "null" ? null : value;
  }
  return fields;
}

function line(text) {
  const change = CHANGE.exec(text);
  if (!change) return;
  const [, table, action, columns] = change;
  id += 1;
  const json = JSON.stringify({ id, table, action: action.toLowerCase(), data: row(columns) });
  const frame = Buffer.from(`id: ${id}\nevent: change\ndata: ${json}\n\n`);
  for (const client of clients) client.write(frame);
}

const options = ["--start", "--slot", slot, "--dbname", url, "--file", "-", "--no-loop"];
const source = spawn(program, options, { stdio: ["ignore", "pipe", "inherit"] });
let rest = "";
source.stdout.setEncoding("utf8");
source.stdout.on("data", (text) => {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  lines.forEach(line);
});
source.on("exit", (code) => process.exit(code ?? 1));
process.on("SIGTERM", () => source.kill("SIGINT"));

const server = createServer((request, response) => {
  response.socket.setNoDelay(true);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write("retry: 1000\n\n");
  clients.add(response);
  request.on("close", () => clients.delete(response));
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  process.stdout.write(`listening on ${server.address().port}\n`);
});
