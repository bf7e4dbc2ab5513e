// Where the focus goes when what had it is taken away by somebody else: to its neighbour, never to nowhere.

import { type RefObject, useLayoutEffect, useRef } from "react";

/**
 * Watches a list whose items have `data-item` with their ids: when the one with the focus goes, the item that takes its
 * place has it, or the one before, or the list itself.
 */
export function useKeptFocus(list: RefObject<HTMLElement | null>, ids: readonly string[]): void {
  const had = useRef<{ id: string; at: number } | null>(null);
  useLayoutEffect(() => {
    const element = list.current;
    if (!element) return undefined;
    const look = () => {
      const item = document.activeElement?.closest<HTMLElement>("[data-item]");
      const id = item && element.contains(item) ? item.dataset.item : undefined;
      had.current = id === undefined ? null : { id, at: itemsOf(element).findIndex((one) => one.dataset.item === id) };
    };
    // An item that is taken away leaves the focus to nobody as well; one that is still there was left by the person.
    const leave = ({ target }: FocusEvent) => {
      setTimeout(() => { if ((target as Node).isConnected && !element.contains(document.activeElement)) had.current = null; }, 0);
    };
    element.addEventListener("focusin", look);
    element.addEventListener("focusout", leave);
    return () => {
      element.removeEventListener("focusin", look);
      element.removeEventListener("focusout", leave);
    };
  }, [list]);
  useLayoutEffect(() => {
    const before = had.current;
    const element = list.current;
    if (!before || !element) return;
    const items = itemsOf(element);
    const at = items.findIndex((item) => item.dataset.item === before.id);
    if (at >= 0) {
      had.current = { id: before.id, at };
      return;
    }
    if (document.activeElement !== document.body && document.activeElement !== null) return;
    const next = items[Math.min(before.at, items.length - 1)];
    (next?.querySelector<HTMLElement>("a, button") ?? element).focus();
  }, [list, ids]);
}

function itemsOf(element: HTMLElement): HTMLElement[] {
  return [...element.querySelectorAll<HTMLElement>("[data-item]")];
}
