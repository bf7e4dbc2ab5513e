// One organisation's data on this device: collections, undo, the outbox, conflicts, status.
// Laws: reads and edits are answered at once from this device; a decision names the other side that was on screen;
// after `close` everything throws `CLOSED`. It refuses to be made in parts: it exists once its store was read.

import { Collection } from "./collection.js";
import { AntiphonError, codeOf } from "./fault.js";
import { Reading } from "./reading.js";
import { type Hearing, openSession, type Session, type SessionOptions } from "./session.js";
import type { Status } from "./status.js";
import type { Json, JournalLine, MachineStatus, OutboxEntry, OutboxExport, Theirs, Told } from "./words.js";
import { Writing } from "./writing.js";

/** The fields of each entity type, as `antiphon types` writes them. */
export type EntityMap = object;

/** An edit about which a person is asked: mine, theirs, and what both began with. */
export interface Conflict {
  /** Names the edit in the outbox. */
  readonly key: string;
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
  readonly #user: string;
  readonly #session: Session;
  readonly #reading: Reading;
  readonly #writing: Writing;
  readonly #listeners = new Set<(told: Told) => void>();

  private constructor(session: Session, options: SessionOptions) {
    this.id = options.org;
    this.#user = options.user;
    this.#session = session;
    this.#reading = new Reading(session.call);
    this.#writing = new Writing(session.call);
  }

  /** @internal */
  static async open<E extends EntityMap>(options: SessionOptions): Promise<Organization<E>> {
    const hearing: Partial<Hearing> = {};
    const session = await openSession(options, hearing);
    const opened = new Organization<E>(session, options);
    hearing.told = (told) => opened.#take(told);
    hearing.restarted = () => opened.#reading.rejoin();
    session.board.machine(session.call({ do: "status" }) as MachineStatus);
    return opened;
  }

  /** The rows of an entity type. */
  collection<T extends keyof Entities & string>(entityType: T): Collection<Entities[T] & object> {
    return new Collection(entityType, this.#reading, this.#writing);
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
    return this.#taking(() => this.#session.call({ do: "undo" }) as boolean);
  }

  /** Does again what was undone last. */
  redo(): boolean {
    return this.#session.call({ do: "redo" }) as boolean;
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
    const owner = { user: this.#user, organization: this.id };
    const said = this.#session.call({ do: "import", owner, export: document }) as Imported & { refused?: string };
    if (said.refused !== undefined) throw new AntiphonError(codeOf(said.refused));
    return said;
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
    this.#session.close();
  }

  /** @internal Stops all other tabs, and waits until this one has read what they left. */
  async stopOthers(): Promise<void> {
    await this.#session.stopOthers();
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
  const { key, entityType, entityId, change, base } = entry;
  const field = "field" in change ? change.field : null;
  const mine = change.do === "value" ? change.value : change.do === "create" ? change.data : null;
  return { key, entityType, entityId, field, base, mine, theirs };
}
