// The service worker by which Desk opens with no network, and the offer of a new release.
// Laws: a new release comes when a person takes it, then in every window at once, so that old and new never stand side by
// side; drafts are on the device at every stroke, so nothing is lost by it.

import { useOrganization } from "@antiphon/react";
import { type ReactNode, useSyncExternalStore } from "react";

import { useSpeech } from "./texts/speaking.js";

interface Trusting { createPolicy(name: string, rules: { createScriptURL: () => string }): { createScriptURL(text: string): string } }

const ADDRESS = "/desk/worker.js";
let waiting: ServiceWorker | null = null;
const listeners = new Set<() => void>();

/** Registers the worker, and listens for releases. */
export async function keepOffline(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const { trustedTypes } = window as unknown as { trustedTypes?: Trusting };
  const address = trustedTypes?.createPolicy("worker", { createScriptURL: () => ADDRESS }).createScriptURL("") ?? ADDRESS;
  let controlled = navigator.serviceWorker.controller !== null;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (controlled) location.reload();
    controlled = true;
  });
  // Without a network, or where the browser lets nothing be kept, Desk works without it.
  const registration = await navigator.serviceWorker.register(address).catch(() => undefined);
  if (!registration) return;
  offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker?.addEventListener("statechange", () => {
      if (worker.state === "installed" && navigator.serviceWorker.controller) offer(worker);
    });
  });
}

function offer(worker: ServiceWorker | null): void {
  waiting = worker;
  for (const listener of [...listeners]) listener();
}

/** Offers a release that waits. */
export function NewRelease(): ReactNode {
  const { say } = useSpeech();
  const organization = useOrganization();
  const worker = useSyncExternalStore(subscribe, () => waiting);
  if (!worker) return null;
  const take = () => {
    organization?.flushDrafts();
    worker.postMessage("take over");
  };
  return <p className="notice" role="status">{say("release.ready")} <button type="button" onClick={take}>{say("release.take")}</button></p>;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => { listeners.delete(listener); };
}
