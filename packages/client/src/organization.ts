// One organisation's data on this device: collections, undo, the outbox, conflicts, status.
// Laws: reads and edits are answered at once from this device; a decision names the other side that was on screen;
// after `close` everything throws `CLOSED`. It refuses to be made in parts: it exists once its store was read.

import { Collection } from "./collection.js";
import { type Draft, Drafts } from "./draft.js";
import { AntiphonError, codeOf } from "./fault.js";
import { Merges } from "./merges.js";
import { type Activity, type DeletedRow, Past, type PastPage } from "./past.js";
import { Reading } from "./reading.js";
import { type Hearing, openSession, type Session, type SessionOptions } from "./session.js";
import type { Status } from "./status.js";
import { type Undoable, Undoing } from "./undoing.js";
import type { Json, JournalLine, MachineStatus, MergedPiece, OutboxEntry, OutboxExport, Theirs, Told } from "./words.js";
import { Writing } from "./writing.js";

/** The fields of each entity type, as `antiphon types` writes them. */
export type EntityMap = object;

/** An edit about which a person is asked: mine, theirs, and what both began with. */
export interface Conflict {
  /** Names the edit in the outbox. */
  readonly key: string;
  /** Edits of one group were made in one go, and are decided as one. */
  readonly group: string;
  readonly entityType: string;
  readonly entityId: string;
  /** The field; null where the whole row is at stake. */
  readonly field: string | null;
  /** What the field held when the edit began; undefined where that is not known. */
  readonly base: Json | undefined;
  /** What was typed here; null for a delete. */
  readonly mine: Json;
  /** What the server has, who wrote it and when; `gone` where they deleted the row. */
  readonly theirs: Theirs;
}

/** What a person decides: one side, a value of both, or to bring a deleted row back. */
export type Decision = "keepMine" | "keepTheirs" | "restore" | { readonly merge: Json };

/** What came of bringing an exported outbox back. */
export interface Imported {
  readonly taken: number;
  readonly known: number;
  readonly unreadable: number;
}

/** One organisation's data. */
export class Organization<Entities extends EntityMap> {
  /** Its id. */
  readonly id: string;
  /** The user whose data these are. */
  readonly user: string;
  readonly #session: Session;
  readonly #reading: Reading;
  readonly #writing: Writing;
  readonly #closed: () => void;
  readonly #drafts: Drafts;
  readonly #past: Past;
  readonly #merges: Merges;
  readonly #undoing = new Undoing();
  readonly #listeners = new Set<(told: Told) => void>();

  private constructor(session: Session, options: SessionOptions) {
    this.id = options.org;
    this.user = options.user;
    this.#session = session;
    this.#closed = options.closed;
    this.#reading = new Reading(session.call);
    this.#writing = new Writing(session.call, (edit) => this.#undoing.did(edit));
    this.#past = new Past(options);
    const { call, keep, left } = session;
    this.#drafts = new Drafts({ clock: options.clock, call, keep, left, reading: this.#reading, writing: this.#writing });
    this.#merges = new Merges({ keep, left, asked: () => new Set(this.conflicts().map(({ key }) => key)) });
  }

  /** @internal */
  static async open<E extends EntityMap>(options: SessionOptions): Promise<Organization<E>> {
    const hearing: Partial<Hearing> = {};
    const session = await openSession(options, hearing);
    const opened = new Organization<E>(session, options);
    hearing.told = (told) => opened.#take(told);
    hearing.leaving = () => opened.#drafts.flush();
    hearing.left = () => {
      void opened.#drafts.takeUp();
      void opened.#merges.takeUp();
    };
    hearing.unsaved = () => opened.#writing.unsaved();
    hearing.restarted = () => {
      opened.#undoing.clear();
      opened.#reading.rejoin();
    };
    session.board.machine(session.call({ do: "status" }) as MachineStatus);
    void opened.#drafts.takeUp();
    return opened;
  }

  /** The rows of an entity type. */
  collection<T extends keyof Entities & string>(entityType: T): Collection<Entities[T] & object> {
    return new Collection(entityType, this.#reading, this.#writing);
  }

  /** A text field as it is being typed: kept on this device at every stroke, an edit after two seconds of rest. */
  draft<T extends keyof Entities & string>(entityType: T, entityId: string, field: keyof Entities[T] & string): Draft {
    return this.#drafts.of({ entityType, entityId, field });
  }

  /** What became of a row, as the server remembers it: the newest first, below `before`. Throws `OFFLINE`. */
  history<T extends keyof Entities & string>(
    entityType: T, entityId: string, { before = null, limit = 50 }: { readonly before?: number | null; readonly limit?: number } = {},
  ): Promise<PastPage<Activity, number>> {
    return this.#past.history(entityType, entityId, before, limit);
  }

  /** Rows of a type that are gone, as the server remembers them: the latest first, from `after` on. Throws `OFFLINE`. */
  deleted<T extends keyof Entities & string>(
    entityType: T, { after = null, limit = 50 }: { readonly after?: string | null; readonly limit?: number } = {},
  ): Promise<PastPage<DeletedRow, string>> {
    return this.#past.deleted(entityType, after, limit);
  }

  /** The value of a field that is too long to be on this device: its row comes without that field. Throws `OFFLINE`. */
  field<T extends keyof Entities & string>(entityType: T, entityId: string, field: keyof Entities[T] & string): Promise<Json> {
    return this.#past.field(entityType, entityId, field);
  }

  /** Makes edits of all drafts, as when the page is hidden. */
  flushDrafts(): void {
    this.#drafts.flush();
  }

  /** How it stands now. */
  get status(): Status {
    return this.#session.board.current;
  }

  /** Calls `listener` with the status at once and after each change, until the returned function is called. */
  onStatus(listener: (status: Status) => void): () => void {
    return this.#session.board.subscribe(listener);
  }

  /** Calls `listener` with everything that the machine tells, for tools and tests. */
  onTold(listener: (told: Told) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  /** Takes back what was done last in this tab, sent or not; false where there is nothing. */
  undo(): boolean {
    const done = this.#taking(() => this.#session.call({ do: "undo" }) as boolean);
    this.#undoing.undid(done);
    return done;
  }

  /** Does again what was undone last. */
  redo(): boolean {
    const done = this.#session.call({ do: "redo" }) as boolean;
    this.#undoing.redid(done);
    return done;
  }

  /** Whether there is something to take back. `undo` may still say no: what others have written since, it leaves alone. */
  get canUndo(): boolean {
    return this.#undoing.now.undo !== null;
  }

  /** Whether there is something to do again. */
  get canRedo(): boolean {
    return this.#undoing.now.redo !== null;
  }

  /** What `undo` would take back and `redo` do again, in this tab; the same object until it changes. */
  get undoable(): Undoable {
    return this.#undoing.now;
  }

  /** Calls `listener` with that at once and after each change, until the returned function is called. */
  onUndoable(listener: (undoable: Undoable) => void): () => void {
    return this.#undoing.subscribe(listener);
  }

  /** The edits that are not confirmed, in order. */
  outbox(): OutboxEntry[] {
    return this.#writing.outbox();
  }

  /** Calls `listener` at once and whenever the outbox changes, until the returned function is called. */
  onOutbox(listener: (entries: OutboxEntry[]) => void): () => void {
    listener(this.outbox());
    return this.onTold((told) => { if (told.told === "outbox") listener(this.outbox()); });
  }

  /** Sends a refused edit again; false where there is no such edit. */
  retry(key: string): boolean {
    return this.#session.call({ do: "retry", key }) as boolean;
  }

  /** What would go with an edit that is discarded: keys of the outbox. */
  discardedWith(key: string): string[] {
    return this.#session.call({ do: "discardedWith", key }) as string[];
  }

  /** What an edit waits for: another's key, or that of a group; null where it waits for nothing of this device. */
  waits(key: string): string | null {
    const said = this.#session.call({ do: "waits", key }) as { for: string } | { forGroup: string } | null;
    if (said === null) return null;
    return "for" in said ? said.for : said.forGroup;
  }

  /** Takes an edit back for good, with what cannot be without it; gives the keys that went. */
  discard(key: string): string[] {
    return this.#taking(() => this.#session.call({ do: "discard", key }) as string[]);
  }

  /** The edits about which a person is asked. */
  conflicts(): Conflict[] {
    return this.outbox().flatMap((entry) => (entry.state === "conflicted" && entry.theirs ? [conflictOf(entry, entry.theirs)] : []));
  }

  /** Decides a conflict as it was on screen; throws `NEWER` where the other side has changed since. */
  resolve(conflict: Conflict, decision: Decision): void {
    const said = this.#session.call({ do: "decide", key: conflict.key, seen: conflict.theirs.id, decision }) as
      { undecided?: string };
    if (said.undecided !== undefined) throw new AntiphonError(codeOf(said.undecided));
  }

  /** How two edits of one text meet: what is merged, and where they overlap, in order. */
  mergeText(base: string, mine: string, theirs: string): MergedPiece[] {
    const said = this.#session.call({ do: "merge", base, mine, theirs }) as { text: string | null; pieces: MergedPiece[] };
    return said.text === null ? said.pieces : [{ merged: said.text }];
  }

  /** Keeps what a person has typed into the merge of a conflict, beside its data, until it is decided; null forgets it. */
  keepMerge(key: string, typed: Json | null): void {
    this.#merges.keep(key, typed);
  }

  /** Calls `listener` with what was typed so before, by the keys of conflicts, once it was read, and when a tab has left more. */
  onMerges(listener: (typed: ReadonlyMap<string, Json>) => void): () => void {
    return this.#merges.subscribe(listener);
  }

  /** What was decided without asking in the last 30 days. */
  journal(): JournalLine[] {
    return this.#session.call({ do: "journal" }) as JournalLine[];
  }

  /** The outbox as a document, to be kept elsewhere and brought back with `importOutbox`. */
  exportOutbox(): OutboxExport {
    return this.#session.exportOutbox();
  }

  /** Brings an exported outbox back; twice is harmless. Throws `NOT_YOURS` or `NOT_AN_EXPORT`. */
  importOutbox(document: OutboxExport): Imported {
    const owner = { user: this.user, organization: this.id };
    const said = this.#session.call({ do: "import", owner, export: document }) as Imported & { refused?: string };
    if (said.refused !== undefined) throw new AntiphonError(codeOf(said.refused));
    return said;
  }

  /** Tries at once what would be tried later; how that goes is told by the status. */
  syncNow(): void {
    this.#session.call({ do: "network", usable: true });
  }

  /** Up to where the server's changes are here, for tools. */
  position(): { readonly epoch: number; readonly offset: number } {
    const [epoch, offset] = this.#session.call({ do: "position" }) as [number, number];
    return { epoch, offset };
  }

  /** Resolves once nothing waits to be sent or confirmed; edits that wait for a person do not count. */
  sent(): Promise<void> {
    // What was done a moment ago counts, told or not.
    this.#session.board.machine(this.#session.call({ do: "status" }) as MachineStatus);
    return new Promise((resolve) => {
      const stop = this.onStatus((status) => {
        if (status.pending > 0) return;
        queueMicrotask(() => stop());
        resolve();
      });
    });
  }

  /** Lets go of everything in this tab; what was saved stays on the device. */
  close(): void {
    this.#closed();
    this.stop();
  }

  /** @internal The user signed out in another tab. */
  stop(): void {
    this.#session.close();
  }

  /** @internal Waits until all other tabs, which were told to stop, have, and this one has read what they left. */
  async othersStopped(): Promise<void> {
    await this.#session.othersStopped();
    await new Promise<void>((resolve) => {
      const stop = this.onStatus((status) => {
        if (!status.leading) return;
        queueMicrotask(() => stop());
        resolve();
      });
    });
  }

  /** @internal Takes the outbox out of the store, and removes the store where `remove` says so. */
  async signOut(remove: boolean): Promise<OutboxExport> {
    return this.#session.signOut(remove);
  }

  #take(told: Told): void {
    if (told.told === "status") this.#session.board.machine(told.about);
    this.#reading.take(told);
    this.#writing.take(told);
    for (const listener of [...this.#listeners]) listener(told);
  }

  #taking<T>(act: () => T): T {
    const result = act();
    this.#writing.look("takenBack");
    return result;
  }
}

function conflictOf(entry: OutboxEntry, theirs: Theirs): Conflict {
  const { key, group, entityType, entityId, change, base } = entry;
  const field = "field" in change ? change.field : null;
  const mine = change.do === "value" ? change.value : change.do === "create" ? change.data : null;
  return { key, group, entityType, entityId, field, base, mine, theirs };
}
