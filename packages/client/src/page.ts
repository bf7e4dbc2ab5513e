// What the page says to the machine: whether it can be seen, whether there is a network, and that it goes away.
// Law: a browser's "online" only says that asking is worth it; whether the server answers is the machine's to find out.

/** What happens to a page. */
export interface PageEvents {
  /** Something that the machine is told. */
  happen(verb: Readonly<Record<string, unknown>>): void;
  /** It cannot be seen any more, and may end without a further word. */
  hidden(): void;
  /** The page goes away for good. */
  close(): void;
}

/** Tells how the page is now. */
export function tellPage(events: PageEvents): void {
  if (typeof document === "undefined") return;
  events.happen({ do: "visible", visible: document.visibilityState === "visible" });
  if (!navigator.onLine) events.happen({ do: "network", usable: false });
}

/** Tells how the page is, and each change, until `signal` says to stop. */
export function watchPage(events: PageEvents, signal: AbortSignal): void {
  if (typeof document === "undefined") return;
  const usable = () => events.happen({ do: "network", usable: navigator.onLine });
  document.addEventListener("visibilitychange", () => {
    tellPage(events);
    if (document.visibilityState === "hidden") events.hidden();
  }, { signal });
  addEventListener("online", usable, { signal });
  addEventListener("offline", usable, { signal });
  // A page that is kept for going back to is frozen as it is, and goes on there.
  addEventListener("pagehide", (event) => event.persisted ? events.hidden() : events.close(), { signal });
  tellPage(events);
}
