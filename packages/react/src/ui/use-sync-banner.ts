// How the whole stands, for a banner.

import type { Status } from "@antiphon/client";
import { useCallback, useEffect, useState } from "react";

import { useOrganization } from "../provider.js";
import { useSyncStatus } from "../sync.js";

/** How the whole stands, in one word. */
export type SyncPhase = "connecting" | "loading" | "offline" | "refused" | "waiting" | "syncing" | "upToDate";

/** How much room there is on this device, as far as the browser says. */
export interface Room {
  readonly usedBytes: number;
  readonly quotaBytes: number;
}

/** What a banner shows and does. */
export interface SyncBannerState {
  readonly phase: SyncPhase;
  readonly status: Status;
  /** Undefined until it was asked for, and where the browser does not say. */
  readonly room: Room | undefined;
  /** Tries at once what would be tried later. */
  readonly syncNow: () => void;
  /** Asks the browser how much room there is. */
  readonly measure: () => void;
}

/** How the provider above stands, in one word. */
export function phaseOf({ connection, listed, pending }: Status): SyncPhase {
  if (connection === "offline" || connection === "refused") return connection;
  if (connection === "connecting") return pending > 0 ? "waiting" : "connecting";
  if (!listed) return "loading";
  return pending > 0 ? "syncing" : "upToDate";
}

/** How the provider above stands, and what a person can do about it. */
export function useSyncBanner(): SyncBannerState {
  const organization = useOrganization();
  const status = useSyncStatus();
  const [room, setRoom] = useState<Room>();
  const measure = useCallback(() => {
    void navigator.storage?.estimate?.().then(
      ({ usage, quota }) => { if (usage !== undefined && quota !== undefined) setRoom({ usedBytes: usage, quotaBytes: quota }); },
      () => undefined,
    );
  }, []);
  const syncNow = useCallback(() => organization?.syncNow(), [organization]);
  return { phase: phaseOf(status), status, room, syncNow, measure };
}

/** What is read out changes at most so often, in milliseconds. */
const READ_OUT_MS = 2_000;

/** A text that changes at once, and then not again for a while: the last one comes in the end. */
export function useCalm(text: string): string {
  const [shown, show] = useState({ text, atMs: -READ_OUT_MS });
  useEffect(() => {
    if (shown.text === text) return undefined;
    const waitMs = Math.max(0, shown.atMs + READ_OUT_MS - performance.now());
    const timer = setTimeout(() => show({ text, atMs: performance.now() }), waitMs);
    return () => clearTimeout(timer);
  }, [text, shown]);
  return shown.text;
}
