// What the stories are about: a few changes of a few people.

import type { Change, Json, OutboxEntry, Theirs } from "@antiphon/client";

import { NOW_MS } from "./fake.js";

const MINUTE_MS = 60_000;

/** The other side, ten minutes ago. */
export function theirs(value: Json, more: Partial<Theirs> = {}): Theirs {
  return { id: "t1", value, gone: false, actor: "mina", at: new Date(NOW_MS - 10 * MINUTE_MS).toISOString(), ...more };
}

let made = 0;

/** An edit of the page that all stories know. */
export function entry(change: Change, more: Partial<OutboxEntry> = {}): OutboxEntry {
  made += 1;
  const key = more.key ?? `e${made}`;
  return {
    key, group: key, entityType: "page", entityId: "welcome", change, state: "pending",
    createdMs: NOW_MS - 15 * MINUTE_MS, attempts: 0, ...more,
  };
}

/** A field that was set. */
export function set(field: string, value: Json): Change {
  return { do: "value", field, value };
}

export const BODY = {
  base: "Our office opens at nine.\nBring a cup. The kitchen is on the second floor.",
  mine: "Our office opens at eight.\nBring a cup. The kitchen is on the second floor, next to the stairs.",
  theirs: "Our office opens at half past nine.\nBring a cup and a chair. The kitchen is on the second floor.",
};

export const BODY_PIECES = {
  [BODY.mine]: [
    { merged: "Our office opens at " },
    { overlap: { base: "nine", mine: "eight", theirs: "half past nine" } },
    { merged: ".\nBring a cup and a chair. The kitchen is on the second floor, next to the stairs." },
  ],
};
