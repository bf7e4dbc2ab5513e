// What tabs that go away leave on the device for the next one: texts that were being typed, and what was not saved yet.
// Laws: a browser gives a page that goes away no time for a transaction, so what is on its way by then is noted where
// writing is done at once; what an open tab has is its own; a note ends once all of it is saved, and its ids are kept, so
// what was saved after all changes nothing. It refuses to note what the browser keeps in memory only.

import type { Call } from "./reading.js";
import type { Store } from "./store.js";
import type { Tabs } from "./tabs.js";
import type { Json, OutboxExport } from "./words.js";

/** Between the name of a store and the tab in the name of a note. */
const NOTE = ":left:";

/** What a tab that is gone has kept. */
export interface Left {
  readonly name: string;
  readonly text: string;
  /** Forgets it. */
  drop(): void;
}

/** What a tab had not saved when it went away. */
interface Note {
  /** Texts by name; null where one was to be forgotten. */
  readonly kept: Readonly<Record<string, string | null>>;
  /** The edits. */
  readonly outbox: OutboxExport | null;
}

/** What it needs of a session. */
export interface LeavingParts {
  /** The store's name. */
  readonly name: string;
  readonly store: () => Store;
  readonly tabs: () => Tabs;
  readonly call: Call;
  readonly exportOutbox: () => OutboxExport;
  /** The keys of edits that were made here and are not saved. */
  readonly unsaved: () => ReadonlySet<string>;
  /** A tab has gone that left something. */
  readonly more: () => void;
}

/** What one tab leaves, and takes up. */
export class Leaving {
  readonly #parts: LeavingParts;
  readonly #awaited = new Set<string>();
  /** Texts that are on their way to the store. */
  readonly #keeping = new Map<string, string | null>();
  /** Notes that were taken up, with what of them is not saved yet. */
  readonly #taken = new Map<string, Set<string>>();
  #noted = false;

  constructor(parts: LeavingParts) {
    this.#parts = parts;
  }

  /** Keeps a text of this tab, or forgets it; where there is no place for it, it lasts as long as the page. */
  keep(name: string, text: string | null): void {
    this.#keeping.set(name, text);
    const kept = () => {
      if (this.#keeping.get(name) === text) this.#keeping.delete(name);
      this.#settle();
    };
    this.#parts.store().keep?.(`${this.#parts.tabs().id} ${name}`, text).then(kept, () => undefined);
  }

  /** Hears of notes that other tabs leave, until `signal` says to stop. */
  watch(signal: AbortSignal): void {
    if (typeof document === "undefined") return;
    const prefix = this.#nameOf("");
    addEventListener("storage", ({ key, newValue }) => {
      if (newValue !== null && key?.startsWith(prefix)) this.#awaitEnd(key.slice(prefix.length));
    }, { signal });
  }

  /** What tabs that are gone have kept, by the same names; what they had not saved is taken up before. */
  async left(): Promise<Left[]> {
    await this.#takeUp();
    const store = this.#parts.store();
    const [kept, open] = [await store.kept?.().catch(() => []) ?? [], await this.#parts.tabs().open()];
    return [...kept].flatMap(([full, text]) => {
      const tab = full.slice(0, full.indexOf(" "));
      // What a tab is typing at this moment is its own.
      if (open.has(tab)) {
        this.#awaitEnd(tab);
        return [];
      }
      return [{ name: full.slice(tab.length + 1), text, drop: () => void store.keep?.(full, null).catch(() => undefined) }];
    });
  }

  /** Notes what is not saved at this moment: the page may end with this step. */
  note(): void {
    if (this.#parts.store().place !== "device") return;
    const keys = this.#parts.unsaved();
    if (!this.#noted && keys.size === 0 && this.#keeping.size === 0) return;
    const name = this.#nameOf(this.#parts.tabs().id);
    this.#noted = keys.size > 0 || this.#keeping.size > 0;
    if (!this.#noted) return withNotes((notes) => notes.removeItem(name));
    const note: Note = { kept: Object.fromEntries(this.#keeping), outbox: keys.size > 0 ? this.#only(keys) : null };
    withNotes((notes) => notes.setItem(name, JSON.stringify(note)));
  }

  /** The machine saved these. */
  saved(keys: readonly string[]): void {
    for (const [tab, rest] of this.#taken) {
      for (const key of keys) rest.delete(key);
      if (rest.size === 0) this.#end(tab);
    }
    this.#settle();
  }

  /** Takes up the notes of tabs that are gone. */
  async #takeUp(): Promise<void> {
    const notes = notesOf(this.#parts.name).filter(([tab]) => !this.#taken.has(tab));
    if (notes.length === 0 || this.#parts.store().place !== "device") return;
    const open = await this.#parts.tabs().open();
    for (const [tab, { kept, outbox }] of notes) {
      if (open.has(tab)) {
        this.#awaitEnd(tab);
        continue;
      }
      const texts = Object.entries(kept).map(([name, text]) => this.#parts.store().keep?.(`${tab} ${name}`, text));
      // Where they cannot be kept, the note is there for the next.
      if ((await Promise.allSettled(texts)).some(({ status }) => status === "rejected")) continue;
      if (!this.#taken.has(tab)) this.#bringBack(tab, outbox);
    }
  }

  #bringBack(tab: string, outbox: OutboxExport | null): void {
    const before = new Set(this.#parts.exportOutbox().entries.map(keyOf));
    const rest = new Set(outbox?.entries.map(keyOf).filter((key) => !before.has(key)));
    this.#taken.set(tab, rest);
    const { user, organization } = outbox ?? { user: "", organization: "" };
    const said = outbox ? this.#parts.call({ do: "import", owner: { user, organization }, export: outbox }) : {};
    const { taken = 0, refused } = said as { taken?: number; refused?: string };
    // Without room for it, it waits for the next.
    if (refused === undefined && taken === 0) this.#end(tab);
  }

  #end(tab: string): void {
    this.#taken.delete(tab);
    withNotes((notes) => notes.removeItem(this.#nameOf(tab)));
  }

  #settle(): void {
    if (this.#noted) this.note();
  }

  #only(keys: ReadonlySet<string>): OutboxExport {
    const whole = this.#parts.exportOutbox();
    return { ...whole, entries: whole.entries.filter((entry) => keys.has(keyOf(entry))) };
  }

  #nameOf(tab: string): string {
    return `${this.#parts.name}${NOTE}${tab}`;
  }

  #awaitEnd(tab: string): void {
    if (tab === this.#parts.tabs().id || this.#awaited.has(tab)) return;
    this.#awaited.add(tab);
    this.#parts.tabs().gone(tab).then(this.#parts.more, () => undefined);
  }
}

/** The edits in the notes of a store, which are all removed where `remove` says so. */
export function notedEdits(name: string, remove: boolean): Json[] {
  return notesOf(name).flatMap(([tab, { outbox }]) => {
    if (remove) withNotes((notes) => notes.removeItem(`${name}${NOTE}${tab}`));
    return outbox?.entries ?? [];
  });
}

/** The key of an exported entry; what cannot be read is its own. */
export function keyOf(entry: unknown): string {
  return typeof entry === "object" && entry !== null && "key" in entry ? String(entry.key) : JSON.stringify(entry);
}

function notesOf(name: string): [tab: string, note: Note][] {
  const found: [string, Note][] = [];
  withNotes((notes) => {
    for (let at = 0; at < notes.length; at += 1) {
      const key = notes.key(at);
      if (key?.startsWith(name + NOTE)) found.push([key.slice(name.length + NOTE.length), readNote(notes.getItem(key))]);
    }
  });
  return found;
}

function readNote(text: string | null): Note {
  try {
    const { kept, outbox } = JSON.parse(text ?? "") as Partial<Note>;
    return { kept: kept ?? {}, outbox: outbox ?? null };
  } catch {
    return { kept: {}, outbox: null };
  }
}

/** A browser that blocks storage throws at the first touch; one that is full keeps what it has. */
function withNotes(act: (notes: Storage) => void): void {
  try {
    if (typeof document !== "undefined") act(localStorage);
  } catch {
    // Nothing can be noted here: what was saved before is all that is left.
  }
}
