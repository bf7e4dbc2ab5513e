// The store on the device: IndexedDB, one database for each application, server, user and organisation.
// Laws: a save is one transaction with the fence compared inside it, so a leader that was outdone writes nothing; edits
// are flushed before they count as saved; a connection that the browser took away is opened anew. It refuses to read
// a layout of a newer build.

import type { Saved, Store } from "./store.js";
import type { RecordName, StoredRecord, Write } from "./words.js";

/** The layout of the databases; the records' own form has a version inside. */
const LAYOUT = 1;
const SINGLES = "singles";
const ENTRIES = "entries";
const JOURNAL = "journal";
const ROWS = "rows";
/** Before the names of what is kept beside the records. */
const KEPT = "kept ";
const ALL = [SINGLES, ENTRIES, JOURNAL, ROWS];

type Row = { generation: number; entityType: string; entityId: string };
type Place = [store: string, key: IDBValidKey];

/** Opens the store of this name on the device; fails where the browser does not let it. */
export async function openDeviceStore(name: string): Promise<Store> {
  const store = new DeviceStore(name);
  await store.open();
  return store;
}

/** The names of the stores on the device that begin so. */
export async function deviceStores(prefix: string): Promise<string[]> {
  if (typeof indexedDB === "undefined" || !indexedDB.databases) return [];
  const databases = await indexedDB.databases().catch(() => []);
  return databases.flatMap(({ name }) => (name?.startsWith(prefix) ? [name] : []));
}

class DeviceStore implements Store {
  readonly place = "device";
  readonly #name: string;
  #opening: Promise<IDBDatabase> | undefined;
  #closed = false;
  /** Transactions follow each other in the order in which they were asked for. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(name: string) {
    this.#name = name;
  }

  async open(): Promise<void> {
    await this.#database();
  }

  async save(fence: number | null, writes: readonly Write[]): Promise<Saved> {
    const edits = writes.some((write) => "put" in write && typeof write.put[0] !== "string" && "entry" in write.put[0]);
    let outcome: Saved = "saved";
    try {
      await this.#inTurn("readwrite", edits ? "strict" : "relaxed", (transaction) => {
        const stopped = (why: Saved) => { outcome = why; transaction.abort(); };
        if (fence === null) {
          add(transaction, writes, () => { outcome = "exists"; });
          return;
        }
        const asked = transaction.objectStore(SINGLES).get("fence");
        asked.onsuccess = () => {
          const present: number = asked.result ?? 0;
          if (present !== fence) stopped(present > fence ? "fenced" : "wiped");
          else for (const one of writes) write(transaction, one);
        };
      });
    } catch (error) {
      // What the transaction said of itself comes before how it ended.
      if (outcome === "saved") outcome = isFull(error) ? "full" : String(error);
    }
    return outcome;
  }

  async claim(beyond?: number): Promise<{ fence: number; won: boolean }> {
    const answer = { fence: 0, won: false };
    await this.#inTurn("readwrite", "strict", (transaction) => {
      const singles = transaction.objectStore(SINGLES);
      const asked = singles.get("fence");
      asked.onsuccess = () => {
        answer.fence = asked.result ?? 0;
        // A fence only goes up: one below what a tab knows is that of a store that somebody emptied.
        answer.won = beyond === undefined || answer.fence <= beyond;
        if (!answer.won) return;
        answer.fence = (beyond ?? answer.fence) + 1;
        singles.put(answer.fence, "fence");
      };
    });
    return answer;
  }

  async read(all: boolean): Promise<StoredRecord[]> {
    const records: StoredRecord[] = [];
    await this.#inTurn("readonly", "relaxed", (transaction) => {
      for (const kind of all ? ALL : [ENTRIES]) {
        const store = transaction.objectStore(kind);
        const keys = store.getAllKeys();
        const texts = store.getAll();
        texts.onsuccess = () => keys.result.forEach((key, at) => {
          const name = nameOf(kind, key);
          if (name) records.push([name, texts.result[at]]);
        });
      }
    });
    return records;
  }

  async keep(name: string, text: string | null): Promise<void> {
    // At once, and not in turn: a page that goes away has no time for what stands before it.
    await this.#transact("readwrite", "relaxed", (transaction) => {
      const singles = transaction.objectStore(SINGLES);
      if (text === null) singles.delete(KEPT + name);
      else singles.put(text, KEPT + name);
      transaction.commit();
    });
  }

  async kept(): Promise<Iterable<readonly [string, string]>> {
    const found: [string, string][] = [];
    await this.#inTurn("readonly", "relaxed", (transaction) => {
      const singles = transaction.objectStore(SINGLES);
      // Nothing that begins so comes behind the last code point.
      const range = IDBKeyRange.bound(KEPT, `${KEPT}\uffff`);
      const keys = singles.getAllKeys(range);
      const texts = singles.getAll(range);
      texts.onsuccess = () => keys.result.forEach((key, at) => found.push([String(key).slice(KEPT.length), texts.result[at]]));
    });
    return found;
  }

  async destroy(): Promise<void> {
    await this.close();
    await new Promise<void>((resolve, reject) => {
      const asked = indexedDB.deleteDatabase(this.#name);
      asked.onsuccess = () => resolve();
      asked.onerror = () => reject(asked.error);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
    await this.#opening?.then((database) => database.close(), () => undefined);
  }

  #inTurn(mode: IDBTransactionMode, durability: IDBTransactionDurability, act: (t: IDBTransaction) => void): Promise<void> {
    const turn = this.#last.then(() => this.#transact(mode, durability, act));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #transact(mode: IDBTransactionMode, durability: IDBTransactionDurability, act: (t: IDBTransaction) => void): Promise<void> {
    const transaction = await this.#begin(mode, durability);
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new DOMException("stopped", "AbortError"));
      act(transaction);
    });
  }

  async #begin(mode: IDBTransactionMode, durability: IDBTransactionDurability): Promise<IDBTransaction> {
    try {
      return (await this.#database()).transaction(ALL, mode, { durability });
    } catch (error) {
      // The browser may close a connection at any time, as when a phone sleeps: once more with a new one.
      if (!(error instanceof DOMException) || error.name !== "InvalidStateError") throw error;
      this.#opening = undefined;
      return (await this.#database()).transaction(ALL, mode, { durability });
    }
  }

  #database(): Promise<IDBDatabase> {
    if (this.#opening) return this.#opening;
    if (this.#closed) return Promise.reject(new DOMException("the store is closed", "AbortError"));
    const opening = new Promise<IDBDatabase>((resolve, reject) => {
      const asked = indexedDB.open(this.#name, LAYOUT);
      asked.onupgradeneeded = () => ALL.forEach((kind) => asked.result.createObjectStore(kind));
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
    this.#opening = opening;
    const forget = () => { if (this.#opening === opening) this.#opening = undefined; };
    opening.then((database) => {
      database.onclose = forget;
      // Another tab removes it or brings a newer layout: this one must not stand in its way.
      database.onversionchange = () => { database.close(); forget(); };
    }, forget);
    return opening;
  }
}

function write(transaction: IDBTransaction, one: Write): void {
  if ("put" in one) {
    const [store, key] = placeOf(one.put[0]);
    transaction.objectStore(store).put(one.put[1], key);
  } else if ("remove" in one) {
    const [store, key] = placeOf(one.remove);
    transaction.objectStore(store).delete(key);
  } else {
    const of = [one.clear.entityType, one.clear.generation];
    // An array compares above every text, so this range is all ids of the generation.
    transaction.objectStore(ROWS).delete(IDBKeyRange.bound(of, [...of, []]));
  }
}

/** Adds new records; one that is there already ends the transaction. */
function add(transaction: IDBTransaction, writes: readonly Write[], exists: () => void): void {
  for (const one of writes) {
    if (!("put" in one)) continue;
    const [store, key] = placeOf(one.put[0]);
    const asked = transaction.objectStore(store).add(one.put[1], key);
    asked.onerror = () => { if (asked.error?.name === "ConstraintError") exists(); };
  }
}

function placeOf(name: RecordName): Place {
  if (typeof name === "string") return [SINGLES, name];
  if ("entry" in name) return [ENTRIES, name.entry];
  if ("journal" in name) return [JOURNAL, name.journal];
  return [ROWS, [name.row.entityType, name.row.generation, name.row.entityId]];
}

function nameOf(store: string, key: IDBValidKey): RecordName | undefined {
  if (store === SINGLES) return key === "turn" || key === "meta" ? key : undefined;
  if (store === ENTRIES) return { entry: String(key) };
  if (store === JOURNAL) return { journal: String(key) };
  const [entityType, generation, entityId] = key as [string, number, string];
  return { row: { generation, entityType, entityId } satisfies Row };
}

function isFull(error: unknown): boolean {
  return error instanceof DOMException && error.name === "QuotaExceededError";
}
