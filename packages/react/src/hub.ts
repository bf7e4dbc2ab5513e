// What an organisation shows, as sources that components share.
// Laws: one subscription however many components show the same; what did not change is the same object as before; an
// organisation that was closed, as by signing out in another tab, shows what it showed last and throws nothing.

import {
  AntiphonError, type Conflict, type Draft, type DraftShown, type JournalLine, type Organization, type OutboxEntry, type QueryOptions, type Snapshot, type Status, type Undoable,
} from "@antiphon/client";

import type { Entities, EntityType, Row } from "./register.js";
import { type Source, Sources } from "./sources.js";

/** Whether a row is on this device, on its way, to be had by asking, or not there at all. */
export type Presence = "here" | "coming" | "elsewhere" | "nowhere";

/** A row, and where it is. */
export interface Found<R> {
  readonly row: R | undefined;
  readonly presence: Presence;
}

/** A list that shows nothing yet. */
export const EMPTY: Snapshot<never> = Object.freeze({ rows: [], ids: [], complete: false, refused: null });
/** A row that nothing is known of yet. */
export const UNKNOWN: Found<never> = Object.freeze({ row: undefined, presence: "coming" });
/** A text that nothing is known of yet. */
export const NO_TEXT: DraftShown = Object.freeze({ text: "", dirty: false, problem: null, loading: false });
/** How it stands before the store was read. */
export const OPENING: Status = Object.freeze({
  connection: "connecting", refusedStatus: null, transport: null, leading: false, listed: false, rows: 0, pending: 0, conflicted: 0,
  failed: 0, asOf: null, storage: "device", persisted: null, notices: [],
});
export const NO_STEPS: Undoable = Object.freeze({ undo: null, redo: null });
export const NO_ENTRIES: readonly OutboxEntry[] = Object.freeze([]);
export const NO_CONFLICTS: readonly Conflict[] = Object.freeze([]);
export const NO_LINES: readonly JournalLine[] = Object.freeze([]);

/** The sources of one organisation. */
export class Hub {
  readonly organization: Organization<Entities>;
  readonly sources = new Sources();
  readonly #drafts = new WeakMap<Draft, string>();
  #draftsMade = 0;

  constructor(organization: Organization<Entities>) {
    this.organization = organization;
  }

  /** A live list. */
  list<T extends EntityType>(entityType: T, options: QueryOptions<Row<T>>): Source<Snapshot<Row<T>>> {
    return this.sources.source<Snapshot<Row<T>>>({
      key: `list ${JSON.stringify([entityType, options])}`,
      kind: `list ${entityType}`,
      nothing: EMPTY,
      begin: (set) => {
        const refuse = (code: string) => { set({ ...EMPTY, refused: code }); return nothing; };
        const query = this.organization.collection(entityType).query(options);
        return unlessRefused(() => query.subscribe(set as (snapshot: Snapshot<object>) => void), refuse);
      },
    });
  }

  /** A row. */
  row<T extends EntityType>(entityType: T, id: string): Source<Found<Row<T>>> {
    const rows = this.organization.collection(entityType);
    let last: Found<Row<T>> = UNKNOWN;
    const look = () => {
      const row = unlessRefused(() => rows.get(id) as Row<T> | undefined, () => last.row);
      const presence = row ? "here" : unlessRefused(() => rows.presence(id), () => last.presence);
      if (row !== last.row || presence !== last.presence) last = { row, presence };
      return last;
    };
    return this.sources.source<Found<Row<T>>>({
      key: `row ${JSON.stringify([entityType, id])}`,
      nothing: UNKNOWN,
      idle: look,
      begin: (set) => {
        const stops = [
          unlessRefused(() => rows.watch(id, () => set(look())), () => nothing),
          // A row that is not there says nothing: whether it comes is told along with how everything stands.
          this.organization.onTold((told) => { if (told.told === "status" && !last.row) set(look()); }),
        ];
        return () => stops.forEach((stop) => stop());
      },
    });
  }

  /** How it stands. */
  status(): Source<Status> {
    return this.sources.source({
      key: "status", nothing: OPENING, idle: () => this.organization.status, begin: (set) => this.organization.onStatus(set),
    });
  }

  /** What undo and redo would do. */
  undoable(): Source<Undoable> {
    return this.sources.source({
      key: "undoable", nothing: NO_STEPS, idle: () => this.organization.undoable, begin: (set) => this.organization.onUndoable(set),
    });
  }

  /** A text as it is being typed. */
  draft(draft: Draft): Source<DraftShown> {
    // Drafts are shared where they are kept; here each has a name by being the one object of its field.
    const name = this.#drafts.get(draft) ?? `draft ${this.#draftsMade += 1}`;
    this.#drafts.set(draft, name);
    return this.sources.source({
      key: name,
      nothing: NO_TEXT,
      idle: () => draft.shown,
      begin: (set) => unlessRefused(() => draft.subscribe(set), () => nothing),
    });
  }

  /** The edits that are not confirmed. */
  outbox(): Source<readonly OutboxEntry[]> {
    return this.#told("outbox", NO_ENTRIES, () => this.organization.outbox(), (entry) => entry.key);
  }

  /** The edits about which a person is asked. */
  conflicts(): Source<readonly Conflict[]> {
    return this.#told("conflicts", NO_CONFLICTS, () => this.organization.conflicts(), (conflict) => conflict.key);
  }

  /** What was decided without asking, newest first. */
  journal(): Source<readonly JournalLine[]> {
    const read = () => this.organization.journal().reverse();
    return this.#told("journal", NO_LINES, read, (line) => `${line.entry} ${line.atMs} ${line.field}`);
  }

  /** What is read anew whenever the outbox changed or something was decided. */
  #told<T>(key: string, none: readonly T[], read: () => T[], keyOf: (one: T) => string): Source<readonly T[]> {
    return this.sources.source<readonly T[]>({
      key,
      nothing: none,
      begin: (set) => {
        let last = none;
        const look = () => {
          last = unlessRefused(() => steady(last, read(), keyOf), () => last);
          set(last);
        };
        look();
        return this.organization.onTold((told) => {
          if (["outbox", "conflict", "failed", "decided"].includes(told.told)) look();
        });
      },
    });
  }
}

const nothing = () => undefined;

/** Does something; where the client refuses it, gives what `otherwise` gives. */
function unlessRefused<T>(act: () => T, otherwise: (code: string) => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof AntiphonError && error.code !== "CORE_FAULT") return otherwise(error.code);
    throw error;
  }
}

/** Gives what did not change as the objects that they were, and the whole as it was where nothing did. */
function steady<T>(before: readonly T[], now: readonly T[], keyOf: (one: T) => string): readonly T[] {
  const known = new Map(before.map((one) => [keyOf(one), one]));
  const next = now.map((one) => {
    const old = known.get(keyOf(one));
    return old !== undefined && JSON.stringify(old) === JSON.stringify(one) ? old : one;
  });
  return next.length === before.length && next.every((one, at) => one === before[at]) ? before : next;
}
