// `script/bench sdk`: sizes of the SDK, and what it costs in Chromium beside a floor in the same run.
// Law: candidate and floor take turns, A B B A, in pages of their own; figures are medians, and ratios say more than they.
//
// usage: node bench/sdk/run.mjs [--quick] [--rounds N] [--rows N]

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

import { findChromium, openPage, startChromium } from "../../tests/browser/browser.mjs";

const JS_GZIP_BYTES_MAX = 30_000;
const CORE_GZIP_BYTES_AIM = 150_000;
const client = fileURLToPath(new URL("../../packages/client/", import.meta.url));
const { values } = parseArgs({
  options: { quick: { type: "boolean" }, rounds: { type: "string" }, rows: { type: "string", default: "10000" }, help: { type: "boolean" } },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const changes = values.quick ? 2_000 : 10_000;
const edits = values.quick ? 60 : 300;

function sizes() {
  const size = (what, file, limit) => {
    const bytes = readFileSync(join(client, file));
    return { what, bytes: bytes.length, gzipBytes: gzipSync(bytes, { level: 9 }).length, limit };
  };
  return [size("client.js", "bundle/client.js", JS_GZIP_BYTES_MAX), size("core_bg.wasm", "bundle/core_bg.wasm", CORE_GZIP_BYTES_AIM)];
}

/** Serves the page, the SDK and its test server to one browser. */
async function serve() {
  const kinds = { html: "text/html", js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm" };
  const server = createServer((incoming, outgoing) => {
    const path = incoming.url.split("?")[0];
    // Isolated, a page has a clock of 5 microseconds.
    const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp", "cache-control": "no-store" };
    const answer = (kind, body) => outgoing.writeHead(200, { ...headers, "content-type": kinds[kind] }).end(body);
    if (path === "/") return answer("html", "<!doctype html><title>bench</title><script type=module src=/page.mjs></script>");
    const known = /^\/(?:page\.mjs|client\.js|core_bg\.wasm|dist\/[a-z]+\.js)$/.test(path);
    if (!known) return outgoing.writeHead(404).end();
    const file = path === "/page.mjs" ? fileURLToPath(new URL("page.mjs", import.meta.url))
      : join(client, path.startsWith("/dist/") ? path : `bundle${path}`);
    return answer(path.split(".").at(-1), readFileSync(file));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Runs one measurement in a page of its own; `name` is its site, with its own storage. */
async function measure(chromium, port, name, expression) {
  const page = await openPage(chromium, `http://${name}.localhost:${port}/?rows=${values.rows}`, 1280);
  await page.until("window.bench !== undefined");
  const result = await page.evaluate(`bench.${expression}`);
  await page.close();
  return result;
}

const sorted = (numbers) => [...numbers].sort((one, other) => one - other);
const percentile = (numbers, share) => sorted(numbers)[Math.round((numbers.length - 1) * share)];
const median = (numbers) => percentile(numbers, 0.5);

/** Takes turns between candidates and their floor; `of` makes a number of a measurement. */
async function turns(run, candidates, floor) {
  const all = [...candidates, floor];
  const results = new Map(all.map(({ what }) => [what, []]));
  for (let round = 0; round < rounds; round += 1) {
    const order = [...all, ...[...all].reverse()];
    for (const one of order) {
      process.stderr.write(".");
      results.get(one.what).push(await run(one, `${all.indexOf(one)}-${results.get(one.what).length}`));
    }
  }
  return results;
}

async function starts(chromium, port) {
  await measure(chromium, port, "start", "fill()");
  const floor = { what: "getAll, JSON.parse, sort", call: "startFloor()" };
  const candidates = [{ what: "start, list of all rows", call: "start(0)" }, { what: "start, list of 50 rows", call: "start(50)" }];
  const results = await turns((one) => measure(chromium, port, "start", one.call), candidates, floor);
  return table(results, floor, (all) => ({ p50Ms: median(all.map(({ ms }) => ms)) }), "p50Ms", `${values.rows} rows in IndexedDB, without network`);
}

async function applies(chromium, port) {
  const floor = { what: "decode, JSON.parse, Map.set", call: `applyFloor(${changes})` };
  const candidates = [
    { what: "apply, no list", call: `apply(${changes}, null)` },
    { what: "apply, list of 50 rows", call: `apply(${changes}, 50)` },
    { what: "apply, list of all rows", call: `apply(${changes}, 0)` },
  ];
  const results = await turns((one, turn) => measure(chromium, port, `apply${turn}`, one.call), candidates, floor);
  const figures = (all) => ({ p50Ms: median(all.map(({ ms }) => ms)), perSecond: changes / (median(all.map(({ ms }) => ms)) / 1_000) });
  return table(results, floor, figures, "p50Ms", `${changes} activities over ${values.rows} rows`);
}

async function paints(chromium, port) {
  const floor = { what: "textContent", call: `paintFloor(${edits})` };
  const candidates = [
    { what: "edit to paint, list of 50 rows", call: `paint(${edits}, 50)` },
    { what: "edit to paint, list of all rows", call: `paint(${edits}, 0)` },
  ];
  const results = await turns((one, turn) => measure(chromium, port, `paint${turn}`, one.call), candidates, floor);
  const figures = (all) => {
    const [toPaint, calls] = [all.flatMap((one) => one.toPaint), all.flatMap((one) => one.calls)];
    return {
      p50Ms: percentile(toPaint, 0.5), p99Ms: percentile(toPaint, 0.99),
      callP50Ms: percentile(calls, 0.5), callP99Ms: percentile(calls, 0.99),
    };
  };
  return table(results, floor, figures, "p50Ms", `${values.rows} rows, 50 on screen, ${edits} edits; a frame is 16.7 ms`);
}

function table(results, floor, figures, by, workload) {
  const below = figures(results.get(floor.what));
  return [...results].map(([what, all]) => {
    const own = figures(all);
    return { what, workload, ...own, ratio: what === floor.what ? null : own[by] / below[by] };
  });
}

function print(report) {
  const number = (value, digits) => (value === undefined || value === null ? "-" : value.toFixed(digits));
  const out = ["", report.browser, `${"what".padEnd(16)} ${"bytes".padStart(9)} ${"gzipped".padStart(9)} ${"limit".padStart(9)}`];
  for (const { what, bytes, gzipBytes, limit } of report.sizes) {
    const over = gzipBytes > limit ? `  above it by ${gzipBytes - limit}` : "";
    out.push(`${what.padEnd(16)} ${String(bytes).padStart(9)} ${String(gzipBytes).padStart(9)} ${String(limit).padStart(9)}${over}`);
  }
  const heads = ["p50 ms", "p99 ms", "ratio", "per second", "call p50", "call p99"];
  out.push("", `${"what".padEnd(34)} ${heads.map((head) => head.padStart(10)).join(" ")}  workload`);
  for (const line of report.lines) {
    const cells = [[line.p50Ms, 2], [line.p99Ms, 2], [line.ratio, 2], [line.perSecond, 0], [line.callP50Ms, 3], [line.callP99Ms, 3]];
    out.push(`${line.what.padEnd(34)} ${cells.map(([value, digits]) => number(value, digits).padStart(10)).join(" ")}  ${line.workload}`);
  }
  process.stderr.write(`${out.join("\n")}\n`);
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}

async function main() {
  if (values.help) {
    process.stdout.write("usage: script/bench sdk [--quick] [--rounds N] [--rows N]\n");
    return;
  }
  const path = findChromium();
  if (!path) {
    process.exitCode = 1;
    return;
  }
  const [chromium, server] = [await startChromium(path), await serve()];
  try {
    const { product } = await chromium.send("Browser.getVersion");
    const lines = [];
    for (const part of [starts, applies, paints]) lines.push(...await part(chromium, server.address().port));
    print({ browser: product, rounds, sizes: sizes(), lines });
  } finally {
    await chromium.stop();
    server.close();
  }
}

await main();
