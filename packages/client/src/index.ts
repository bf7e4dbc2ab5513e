// What an application imports.

export { Client, type ClientOptions, createClient, type PendingAtSignOut } from "./client.js";
export type { Clock } from "./clock.js";
export { Collection, type Elements, type LiveQuery } from "./collection.js";
export { Draft, type DraftListener, type DraftShown, movedOffset, type TextChange } from "./draft.js";
export { AntiphonError, explain } from "./fault.js";
export type { WasmSource } from "./machine.js";
export { type Conflict, type Decision, type EntityMap, type Imported, Organization } from "./organization.js";
export type { Activity, DeletedRow, PastPage } from "./past.js";
export type { Condition, QueryOptions, Snapshot } from "./reading.js";
export type { Status } from "./status.js";
export { openDeviceStore } from "./indexeddb.js";
export type { SocketMaker } from "./socket.js";
export { memoryStore, type OpenStore, type Saved, type Store } from "./store.js";
export type { TokenProvider } from "./token.js";
export type {
  Change, EntityKey, Fields, Json, JournalLine, MergedPiece, OutboxEntry, OutboxExport, RecordName, StoredRecord, Theirs, Told, Write,
} from "./words.js";
export type { Undoable, UndoStep } from "./undoing.js";
export type { Edit, Outcome } from "./writing.js";
