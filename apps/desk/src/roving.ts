// One stop of the Tab key for a list, however long: within it, arrows, Home and End go from item to item.
// Law: the stop is where the focus was last, or what is open, or the first; an item with the stop has all of its buttons in
// the order of Tab, and no other item has any.

import { type FocusEvent, type KeyboardEvent, useCallback, useState } from "react";

/** What a list takes, and which of its items has the stop. */
export interface Roving {
  readonly stop: string | undefined;
  readonly list: { readonly onFocus: (event: FocusEvent<HTMLElement>) => void; readonly onKeyDown: (event: KeyboardEvent<HTMLElement>) => void };
}

/** Lets arrows walk through a list whose items have `data-item` with their ids, and a link each. */
export function useRoving(ids: readonly string[], open: string | null = null): Roving {
  const [last, set] = useState<string | null>(null);
  const onFocus = useCallback((event: FocusEvent<HTMLElement>) => {
    const item = event.target.closest<HTMLElement>("[data-item]");
    if (item?.dataset.item) set(item.dataset.item);
  }, []);
  const onKeyDown = useCallback((event: KeyboardEvent<HTMLElement>) => {
    const target = event.target as HTMLElement;
    const item = target.closest<HTMLElement>("[data-item]");
    if (target.tagName !== "A" || !item || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = {
      ArrowDown: item.nextElementSibling, ArrowUp: item.previousElementSibling,
      Home: item.parentElement?.firstElementChild, End: item.parentElement?.lastElementChild,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    next?.querySelector<HTMLElement>("a")?.focus();
  }, []);
  const stop = [last, open].find((id) => id !== null && ids.includes(id)) ?? ids[0];
  return { stop, list: { onFocus, onKeyDown } };
}
