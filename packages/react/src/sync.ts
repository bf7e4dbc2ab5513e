// How it stands, what waits, what a person decides, and what was decided without asking.
// Laws: what did not change is the same object; a decision names the other side that was on screen; nothing here throws
// where nothing is open yet, but for what a person does.

import { AntiphonError, type Conflict, type Decision, type Edit, type Imported, type JournalLine, type OutboxEntry, type OutboxExport, type Status } from "@antiphon/client";
import { useCallback, useMemo, useSyncExternalStore } from "react";

import { type Hub, NO_CONFLICTS, NO_ENTRIES, NO_LINES, OPENING } from "./hub.js";
import { useHub } from "./provider.js";
import { constant } from "./sources.js";
import { useSource } from "./use-source.js";

/** The edits that the server does not have yet, and what can be done about them. */
export interface Outbox {
  /** The edits, in order; one that did not change is the same object as before. */
  readonly entries: readonly OutboxEntry[];
  /** Sends a refused edit again; false where there is no such edit. */
  retry(key: string): boolean;
  /** What would go with an edit that is discarded: keys, its own among them. */
  discardedWith(key: string): string[];
  /** Takes an edit back for good, with what cannot be without it; gives the keys that went. */
  discard(key: string): string[];
  /** The outbox as a document, to be kept elsewhere. */
  exportOutbox(): OutboxExport;
  /** Brings such a document back; twice is harmless. */
  importOutbox(document: OutboxExport): Imported;
}

/** The edits about which a person is asked. */
export interface Conflicts {
  readonly conflicts: readonly Conflict[];
  /** Decides one as it was on screen; throws `NEWER` where the other side has changed since. */
  resolve(conflict: Conflict, decision: Decision): void;
}

/** What was decided without asking in the last 30 days. */
export interface Journal {
  /** The decisions, newest first. */
  readonly lines: readonly JournalLine[];
  /** Whether `restoreMine` can bring back what was typed: a value of a field that did not come into effect. */
  canRestore(line: JournalLine): boolean;
  /** Gives the field the value that was typed, by an ordinary edit. */
  restoreMine(line: JournalLine): Edit;
}

const BEFORE = constant(OPENING);
const EMPTY_OUTBOX = constant(NO_ENTRIES);
const NOTHING_ASKED = constant(NO_CONFLICTS);
const NOTHING_DECIDED = constant(NO_LINES);

/** How the client stands. */
export function useSyncStatus(): Status;
/** One thing of how it stands; renders again when that changes. What `select` gives is compared by identity. */
export function useSyncStatus<T>(select: (status: Status) => T): T;
export function useSyncStatus<T>(select?: (status: Status) => T): T | Status {
  const hub = useHub();
  const source = useMemo(() => hub?.status() ?? BEFORE, [hub]);
  const take = (status: Status) => (select ? select(status) : status);
  return useSyncExternalStore(source.subscribe, () => take(source.current()), () => take(source.nothing()));
}

/** The edits that the server does not have yet. */
export function useOutbox(): Outbox {
  const hub = useHub();
  const entries = useSource(useMemo(() => hub?.outbox() ?? EMPTY_OUTBOX, [hub]));
  const acts = useMemo(() => ({
    retry: (key: string) => open(hub).retry(key),
    discardedWith: (key: string) => open(hub).discardedWith(key),
    discard: (key: string) => open(hub).discard(key),
    exportOutbox: () => open(hub).exportOutbox(),
    importOutbox: (document: OutboxExport) => open(hub).importOutbox(document),
  }), [hub]);
  return useMemo(() => ({ entries, ...acts }), [entries, acts]);
}

/** The edits about which a person is asked, in the order in which they were made. */
export function useConflicts(): Conflicts {
  const hub = useHub();
  const conflicts = useSource(useMemo(() => hub?.conflicts() ?? NOTHING_ASKED, [hub]));
  const resolve = useCallback(
    (conflict: Conflict, decision: Decision) => open(hub).resolve(conflict, decision),
    [hub],
  );
  return useMemo(() => ({ conflicts, resolve }), [conflicts, resolve]);
}

/** What was decided without asking, newest first. */
export function useJournal(): Journal {
  const hub = useHub();
  const lines = useSource(useMemo(() => hub?.journal() ?? NOTHING_DECIDED, [hub]));
  const restoreMine = useCallback((line: JournalLine): Edit => {
    if (!canRestore(line)) throw new AntiphonError("NOT_POSSIBLE");
    return open(hub).collection(line.entityType).update(line.entityId, { [line.field ?? ""]: line.mine });
  }, [hub]);
  return useMemo(() => ({ lines, canRestore, restoreMine }), [lines, restoreMine]);
}

/** Rules by which what was typed did not come into effect, or not as it was. */
const LOST: readonly unknown[] = ["later_wins", "with_its_group", "merged", "decided", "discarded", "deleted", "other_tab"];

function canRestore(line: JournalLine): boolean {
  // What was to be added to a counter or a set is no value that a field could have.
  const taken = line.rule === "discarded" || line.rule === "deleted";
  return line.field !== null && LOST.includes(line.rule) && !(taken && (typeof line.mine === "number" || Array.isArray(line.mine)));
}

function open(hub: Hub | undefined): Hub["organization"] {
  if (!hub) throw new AntiphonError("NOT_OPEN");
  return hub.organization;
}
