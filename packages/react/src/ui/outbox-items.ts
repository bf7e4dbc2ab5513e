// The outbox as a person looks through it: what was done in one go is one item, and who waits stands under whom.
// Laws: every edit is in one item; the order is that in which they are sent; an item whose parent is not in the outbox
// stands on its own.

import type { EntityKey, OutboxEntry } from "@antiphon/client";

/** What was done in one go. */
export interface OutboxItem extends EntityKey {
  /** Names what was done. */
  readonly key: string;
  readonly entries: readonly OutboxEntry[];
  /** How it stands: the member that needs most attention tells. */
  readonly state: OutboxEntry["state"];
  readonly createdMs: number;
  readonly attempts: number;
  readonly refused: OutboxEntry["refused"];
  /** What waits for it, in order. */
  readonly waiting: readonly OutboxItem[];
}

const PRESSING: readonly OutboxEntry["state"][] = ["failed", "conflicted", "pending", "sent", "accepted"];

/** Puts the items together; `waits` says what an edit waits for: another's key, a group's, or null. */
export function itemsOf(entries: readonly OutboxEntry[], waits: (key: string) => string | null): OutboxItem[] {
  const groups = new Map<string, OutboxEntry[]>();
  for (const entry of entries) groups.set(entry.group, [...(groups.get(entry.group) ?? []), entry]);
  const groupOf = new Map(entries.map(({ key, group }) => [key, group]));
  const parents = new Map<string, string>();
  for (const [group, members] of groups) {
    const parent = members.map(({ key }) => parentOf(waits(key), groupOf, groups)).find((one) => one !== undefined && one !== group);
    if (parent !== undefined && !leadsTo(parents, parent, group)) parents.set(group, parent);
  }
  const item = (group: string): OutboxItem => {
    const below = [...parents].flatMap(([child, parent]) => (parent === group ? [item(child)] : []));
    return itemOf(group, groups.get(group) ?? [], below);
  };
  return [...groups.keys()].filter((group) => !parents.has(group)).map(item);
}

function parentOf(
  waitsFor: string | null, groupOf: ReadonlyMap<string, string>, groups: ReadonlyMap<string, unknown>,
): string | undefined {
  if (waitsFor === null) return undefined;
  return groupOf.get(waitsFor) ?? (groups.has(waitsFor) ? waitsFor : undefined);
}

/** Tells whether one is below another already: nothing stands under itself. */
function leadsTo(parents: ReadonlyMap<string, string>, from: string, to: string): boolean {
  for (let at: string | undefined = from; at !== undefined; at = parents.get(at)) if (at === to) return true;
  return false;
}

function itemOf(key: string, entries: readonly OutboxEntry[], waiting: readonly OutboxItem[]): OutboxItem {
  const first = entries[0]!;
  return {
    key,
    entries,
    entityType: first.entityType,
    entityId: first.entityId,
    state: PRESSING.find((state) => entries.some((entry) => entry.state === state)) ?? "pending",
    createdMs: Math.min(...entries.map(({ createdMs }) => createdMs)),
    attempts: Math.max(...entries.map(({ attempts }) => attempts)),
    refused: entries.find(({ refused }) => refused)?.refused,
    waiting,
  };
}

/** All items, each before those that wait for it. */
export function flat(items: readonly OutboxItem[]): OutboxItem[] {
  return items.flatMap((item) => [item, ...flat(item.waiting)]);
}
