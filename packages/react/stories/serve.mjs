// Builds the stories and serves them. usage: node packages/react/stories/serve.mjs [port]
// Law: nothing is written to disk; what was brought into packages/node_modules is all that it needs.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

const folder = fileURLToPath(new URL(".", import.meta.url));
// No inline script and no inline style: an application may have the same policy.
const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; require-trusted-types-for 'script'";
const PAGE = `<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Stories</title>
<link rel="icon" href="/icon">
<link rel="stylesheet" href="/ui.css">
<link rel="stylesheet" href="/page.css">
<div id="root"></div>
<script type="module" src="/page.js"></script>
`;
const STYLE = ":root { color-scheme: light dark; background: Canvas; color: CanvasText; } body { margin: 0; font-family: system-ui, sans-serif; } main { padding: 0.5rem; }";

/** Builds a page of the stories' folder, or of another: one script. */
export async function bundle(entry) {
  const built = await build({
    entryPoints: [entry], bundle: true, write: false, format: "esm", target: "es2022", jsx: "automatic", logLevel: "warning",
    // The core is loaded by whoever has data; stories have none.
    external: ["../core/core.js"], define: { "process.env.NODE_ENV": '"development"' },
  });
  return built.outputFiles[0].text;
}

/** Starts the stories on a port, a free one where it is 0; gives the address, and a way to stop. */
export async function startStories(port = 0) {
  const files = {
    "/": ["text/html; charset=utf-8", PAGE],
    "/icon": ["image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>"],
    "/page.js": ["text/javascript", await bundle(`${folder}page.tsx`)],
    "/ui.css": ["text/css", readFileSync(`${folder}../src/ui/ui.css`)],
    "/page.css": ["text/css", STYLE],
  };
  const server = createServer((incoming, outgoing) => {
    const file = files[incoming.url.split("?")[0]];
    if (!file) return outgoing.writeHead(404).end();
    outgoing.writeHead(200, { "content-type": file[0], "content-security-policy": POLICY, "cache-control": "no-store" });
    return outgoing.end(file[1]);
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const stop = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  return { url: `http://127.0.0.1:${server.address().port}/`, stop };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { url } = await startStories(Number(process.argv[2] ?? 4300));
  console.log(`stories: ${url}`);
}
