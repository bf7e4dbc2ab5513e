// A plug that can be pulled from one window's network, and nobody else's: for `/try`, where two windows stand in one page.
// Law: pulling it is what a cut cable is: what runs breaks off, and what is begun fails.

const plug = { pulled: false, cut: new AbortController() };

/** Whether this window stands in the page of `/try`, which may pull its plug. */
export const inFrame = window.parent !== window && new URLSearchParams(location.search).has("frame");

/** What Desk asks by: the browser's `fetch` while the plug is in. */
export const pluggedFetch: typeof fetch = (input, init) => {
  if (plug.pulled) return Promise.reject(new TypeError("the plug is pulled"));
  const signal = init?.signal ? AbortSignal.any([init.signal, plug.cut.signal]) : plug.cut.signal;
  return fetch(input, { ...init, signal });
};

/** Pulls the plug, or puts it in again. */
export function pull(pulled: boolean): void {
  if (plug.pulled === pulled) return;
  plug.pulled = pulled;
  plug.cut.abort();
  plug.cut = new AbortController();
  dispatchEvent(new Event(pulled ? "offline" : "online"));
}
