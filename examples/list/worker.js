// Keeps what the page is made of, so that it starts without a network. Rows and edits are not its business: they are
// kept by the SDK, and nothing below /v1 goes through here.
const CACHE = "list-1"; // a new name for each release
const FILES = ["/", "/list.css", "/list.js", "/sdk/client.js", "/sdk/core_bg.wasm"];

// All files of one release, or none of them.
self.addEventListener("install", (event) => {
  const fresh = FILES.map((path) => new Request(path, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)));
});

// A new release waits until no page of the one before is open, and then takes its files away.
self.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)))));
});

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin || !FILES.includes(pathname)) return;
  const kept = caches.open(CACHE).then((cache) => cache.match(pathname));
  event.respondWith(kept.then((answer) => answer ?? fetch(event.request)));
});
