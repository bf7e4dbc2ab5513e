// Having Desk among the device's applications, where the browser offers that: what is kept here is kept longer then.

import { useSyncExternalStore } from "react";

interface Offer extends Event { prompt(): Promise<unknown> }

let offered: Offer | null = null;
const listeners = new Set<() => void>();

/** Keeps the browser's offer until a person wants it. */
export function heedInstalling(): void {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    offer(event as Offer);
  });
  addEventListener("appinstalled", () => offer(null));
}

/** Installs Desk; null where the browser offers nothing. */
export function useInstall(): (() => void) | null {
  const now = useSyncExternalStore(subscribe, () => offered);
  if (!now) return null;
  return () => {
    offer(null);
    void now.prompt();
  };
}

function offer(next: Offer | null): void {
  offered = next;
  for (const listener of [...listeners]) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => { listeners.delete(listener); };
}
