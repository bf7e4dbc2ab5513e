// What the machine told in one step, told once.
// Law: whoever shows rows, lists or the status looks at them as they are now, so looking once is enough; what says more
// than "look" is handed on as often as it was told, in its order.

import type { EntityKey, Told } from "./words.js";

/** Rows, lists and the status that were told again and again in one step are told once: who shows them looks anyway. */
export function together(tells: readonly Told[]): Told[] {
  if (tells.length < 2) return [...tells];
  const rows = new Map<string, EntityKey>();
  const subsets = new Set<number>();
  const once = new Map<string, Told>();
  const rest: Told[] = [];
  for (const one of tells) {
    if (one.told === "rows") for (const entity of one.about) rows.set(`${entity.entityType}\n${entity.entityId}`, entity);
    else if (one.told === "subsets") for (const subset of one.about) subsets.add(subset);
    else if (one.told === "status" || one.told === "outbox") once.set(one.told, one);
    else rest.push(one);
  }
  if (rows.size > 0) rest.unshift({ told: "rows", about: [...rows.values()] });
  if (subsets.size > 0) rest.unshift({ told: "subsets", about: [...subsets] });
  return [...rest, ...once.values()];
}
