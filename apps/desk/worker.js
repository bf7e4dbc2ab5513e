// Keeps what Desk is made of, so that it opens with no network. Rows and edits are not its business: they are kept by the
// SDK, and nothing below /v1 or /dev goes through here. Laws: all files of one release or none; the next release waits until
// a person takes it, or no window of the one before is open.
const CACHE = "desk-RELEASE";
const FILES = ["/desk/", "/desk/desk.js", "/desk/desk.css", "/desk/core_bg.wasm", "/desk/icon.svg", "/desk/manifest.webmanifest"];

self.addEventListener("install", (event) => {
  const fresh = FILES.map((path) => new Request(path, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)));
});

self.addEventListener("activate", (event) => {
  const old = (names) => names.filter((name) => name.startsWith("desk-") && name !== CACHE);
  event.waitUntil(caches.keys().then((names) => Promise.all(old(names).map((name) => caches.delete(name)))));
});

self.addEventListener("message", ({ data }) => {
  if (data === "take over") self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin || !FILES.includes(pathname)) return;
  const kept = caches.open(CACHE).then((cache) => cache.match(pathname));
  event.respondWith(kept.then((answer) => answer ?? fetch(event.request)));
});
