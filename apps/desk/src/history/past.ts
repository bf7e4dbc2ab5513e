// What the server remembers of rows, for components: asked for when it is shown, and again when the row changed.

import type { Activity, PastPage } from "@antiphon/client";
import { useOrganization, useOutbox, useSyncStatus } from "@antiphon/react";
import { useCallback, useEffect, useState } from "react";

import type { Entities } from "../entities.js";

/** It is asked after so much rest. */
const REST_MS = 200;

/** How far reading has come. */
export interface Past<Item> {
  readonly state: "reading" | "here" | "offline";
  readonly items: readonly Item[];
  /** Reads what is older; undefined where there is nothing. */
  readonly older: (() => void) | undefined;
  readonly again: () => void;
}

interface Read<Item> {
  readonly items: readonly Item[];
  readonly next: number | string | null;
}

/** Reads a list of the server's in parts; `ask` is a stable function, null asks for nothing. */
export function usePast<Item, Next extends number | string>(ask: ((from: Next | null) => Promise<PastPage<Item, Next>>) | null): Past<Item> {
  const [state, set] = useState<Past<Item>["state"]>("reading");
  const [read, take] = useState<Read<Item>>({ items: [], next: null });
  const [turn, again] = useState(0);
  useEffect(() => {
    if (!ask) return undefined;
    let left = false;
    // Several changes at once are one question, and what is only passed by is not asked about.
    const timer = setTimeout(() => {
      ask(null).then(
        (page) => { if (!left) { take(page); set("here"); } },
        () => { if (!left) set("offline"); },
      );
    }, REST_MS);
    return () => { left = true; clearTimeout(timer); };
  }, [ask, turn]);
  const older = () => {
    ask?.(read.next as Next).then(
      ({ items, next }) => take((before) => ({ items: [...before.items, ...items], next })),
      () => set("offline"),
    );
  };
  return { state, items: read.items, older: read.next === null ? undefined : older, again: () => { set("reading"); again(turn + 1); } };
}

/** The history of a row, read again whenever its row or the connection has changed. */
export function useHistory(entityType: keyof Entities, id: string, row: object | undefined, limit: number): Past<Activity> {
  const organization = useOrganization();
  const online = useSyncStatus(({ connection }) => connection === "online");
  // Of a row that is made here the server knows nothing yet, and of one that waits it does not know the newest.
  const { entries } = useOutbox();
  const waits = entries.some((entry) => entry.entityType === entityType && entry.entityId === id);
  const ask = useCallback(
    (before: number | null) => organization?.history(entityType, id, { before, limit }) ?? Promise.reject(new Error("not open")),
    // The row stands for what became of it.
    [organization, entityType, id, limit, online, row],
  );
  return usePast<Activity, number>(organization && online && !waits ? ask : null);
}
