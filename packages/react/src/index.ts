"use client";
// What an application imports.

export { type Draft, type DraftProps, useDraft } from "./draft.js";
export { type EntitiesOptions, type EntitiesResult, type EntityResult, useEntities, useEntity } from "./entities.js";
export { type Mutations, type UndoRedo, useMutate, useUndo } from "./mutate.js";
export type { Presence } from "./hub.js";
export { AntiphonProvider, type AntiphonProviderProps, useClient, useOrganization } from "./provider.js";
export type { Entities, EntityType, Register, Row, TextField } from "./register.js";
export { type Conflicts, type Journal, type Outbox, useConflicts, useJournal, useOutbox, useSyncStatus } from "./sync.js";
