// Moving rows in an order: one edit for each move, by dragging, by a menu, and by Alt with an arrow key.

import { type DragEvent, useMemo, useRef, useState } from "react";

import { keyAt } from "./order.js";
import type { Speech } from "./texts/speaking.js";
import type { MenuItem } from "./menu.js";

/** A row that stands in an order. */
export interface Placed {
  readonly id: string;
  readonly position: string | null;
}

/** Where a row goes: steps from where it is. */
export type Step = -1 | 1 | "first" | "last";

/** The place to which a step leads; undefined where it leads nowhere. */
export function placeAfter(rows: readonly Placed[], id: string, step: Step): number | undefined {
  const at = rows.findIndex((row) => row.id === id);
  const to = step === "first" ? 0 : step === "last" ? rows.length - 1 : at + step;
  return at < 0 || to === at || to < 0 || to >= rows.length ? undefined : to;
}

/** The key that brings a row to a place of its list. */
export function keyFor(rows: readonly Placed[], id: string, place: number): string {
  return keyAt(rows.filter((row) => row.id !== id), place);
}

/** The lines of a menu that move a row. */
export function moveItems(rows: readonly Placed[], id: string, { say }: Speech, move: (place: number) => void): MenuItem[] {
  const steps = [[-1, "move.up"], [1, "move.down"], ["first", "move.first"], ["last", "move.last"]] as const;
  return steps.map(([step, key]) => {
    const place = placeAfter(rows, id, step);
    return { label: say(key), disabled: place === undefined, act: () => { if (place !== undefined) move(place); } };
  });
}

/** What dragging needs on each item, and on the list; the same functions at every rendering. */
export interface Dragging {
  /** The item above which it would be dropped; null at the end. */
  readonly over: string | null | undefined;
  readonly dragged: string | null;
  readonly item: (id: string) => {
    readonly draggable: true;
    readonly onDragStart: (event: DragEvent) => void;
    readonly onDragEnd: () => void;
    readonly onDragOver: (event: DragEvent) => void;
  };
  readonly list: { readonly onDragOver: (event: DragEvent) => void; readonly onDrop: (event: DragEvent) => void };
}

const KIND = "application/x-desk-row";

/** Lets the items of a list be dragged; `drop` has the row, and the one above which it is put, or null for the end. */
export function useDragging(drop: (id: string, above: string | null) => void): Dragging {
  const [dragged, drag] = useState<string | null>(null);
  const [over, hover] = useState<string | null | undefined>(undefined);
  const now = useRef({ drop, over });
  now.current = { drop, over };
  const handlers = useMemo(() => {
    const ours = (event: DragEvent) => event.dataTransfer.types.includes(KIND);
    const end = () => { drag(null); hover(undefined); };
    const item: Dragging["item"] = (id) => ({
      draggable: true,
      onDragStart: (event) => {
        event.dataTransfer.setData(KIND, id);
        event.dataTransfer.effectAllowed = "move";
        drag(id);
      },
      onDragEnd: end,
      onDragOver: (event) => {
        if (!ours(event)) return;
        event.preventDefault();
        event.stopPropagation();
        hover(id);
      },
    });
    const list: Dragging["list"] = {
      onDragOver: (event) => { if (ours(event)) { event.preventDefault(); hover(null); } },
      onDrop: (event) => {
        if (!ours(event)) return;
        event.preventDefault();
        const id = event.dataTransfer.getData(KIND);
        if (id !== now.current.over) now.current.drop(id, now.current.over ?? null);
        end();
      },
    };
    return { item, list };
  }, []);
  return { over, dragged, ...handlers };
}
