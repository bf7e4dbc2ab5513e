// Edits from components.
// Laws: an edit is answered in the same step, online or not; one that is not taken throws by code and changes nothing.
// It refuses to edit before the store on this device was read (`NOT_OPEN`).

import { AntiphonError, type Collection, type Undoable } from "@antiphon/client";
import { useMemo } from "react";

import { NO_STEPS } from "./hub.js";
import { useHub } from "./provider.js";
import type { EntityType, Row } from "./register.js";
import { constant } from "./sources.js";
import { useSource } from "./use-source.js";

const NOTHING_DONE = constant(NO_STEPS);

/** What can be done with rows of a type; each gives `{ id, saved, settled }` at once. */
export type Mutations<T extends EntityType> = Pick<Collection<Row<T>>, "create" | "update" | "add" | "change" | "delete">;

/** Takes back and does again what was done in this tab. */
export interface UndoRedo {
  /** Takes back what was done last, sent or not; false where there is nothing, or others have written since. */
  undo(): boolean;
  /** Does again what was undone last; false where there is nothing. */
  redo(): boolean;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
  /** What `undo` would take back and `redo` do again; null where there is nothing. */
  readonly next: Undoable;
}

/** Edits of a type's rows; the same object until the organisation changes. */
export function useMutate<T extends EntityType>(entityType: T): Mutations<T> {
  const hub = useHub();
  return useMemo(() => {
    const rows = (): Collection<Row<T>> => {
      if (!hub) throw new AntiphonError("NOT_OPEN");
      return hub.organization.collection(entityType);
    };
    return {
      create: (fields: Partial<Row<T>>, entityId?: string) => (
        entityId === undefined ? rows().create(fields) : rows().create(fields, entityId)),
      update: (id, fields) => rows().update(id, fields),
      add: (id, field, by) => rows().add(id, field, by),
      change: (id, field, elements) => rows().change(id, field, elements),
      delete: (id) => rows().delete(id),
    };
  }, [hub, entityType]);
}

/** Undo and redo over what was done in one go, in this tab. */
export function useUndo(): UndoRedo {
  const hub = useHub();
  const next = useSource(useMemo(() => hub?.undoable() ?? NOTHING_DONE, [hub]));
  const acts = useMemo(() => ({
    undo: () => hub?.organization.undo() ?? false,
    redo: () => hub?.organization.redo() ?? false,
  }), [hub]);
  return useMemo(() => ({ ...acts, canUndo: next.undo !== null, canRedo: next.redo !== null, next }), [acts, next]);
}
