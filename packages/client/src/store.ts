// Where one user's records of one organisation are kept, and a store in memory.
// Laws: a save is one transaction with the fence compared inside; a save without a fence only adds entries; the fence
// goes up by one for one claim only. It refuses to know what a record says.

import type { RecordName, StoredRecord, Write } from "./words.js";

/**
 * How a save went: done, or why not. `wiped`: the fence is lower than it was, so somebody emptied the store; anything else
 * than these words is the reason in words.
 */
export type Saved = "saved" | "full" | "fenced" | "wiped" | "exists" | (string & {});

/** The fence after a claim, and whether it is the claimer's. */
export interface Claim {
  readonly fence: number;
  readonly won: boolean;
}

/** A store of records. */
export interface Store {
  /** Where it keeps them: on the device, or in memory only. */
  readonly place: "device" | "memory";
  /** Writes in one transaction, if the fence is still `fence`; with null only where no entry is there already. */
  save(fence: number | null, writes: readonly Write[]): Promise<Saved>;
  /** Raises the fence to one above `beyond` where it is not above it (undefined: by one); says what it is then. */
  claim(beyond?: number): Promise<Claim>;
  /** Reads everything, or the entries, in one transaction. */
  read(all: boolean): Promise<StoredRecord[]>;
  /** Keeps a text beside the records, whoever leads, or forgets it; a store without this keeps no drafts. */
  keep?(name: string, text: string | null): Promise<void>;
  /** Everything that was kept so, by name. */
  kept?(): Promise<Iterable<readonly [string, string]>>;
  /** Removes everything for good. */
  destroy(): Promise<void>;
  /** Lets go of it; resolves once everything that was asked before is done. */
  close(): Promise<void>;
}

/** Opens the store of one user's records of one organisation; `name` is unlike that of any other. */
export interface OpenStore {
  (name: string): Promise<Store>;
  /** The names that begin so, of stores that are there; without it, signing out reaches only what is open. */
  readonly names?: (prefix: string) => Promise<string[]>;
}

/** How the names of a user's stores begin: by application, server and user. */
export function userName(application: string, url: string, user: string): string {
  return ["antiphon", application, url.replace(/\/+$/, ""), user].map(encodeURIComponent).join(":");
}

/** The name of a store: by organisation as well, so that none meets another's (CORE-18). */
export function storeName(application: string, url: string, user: string, org: string): string {
  return `${userName(application, url, user)}:${encodeURIComponent(org)}`;
}

/** Makes a store in memory: for private windows, where nothing else is allowed, and for tests. */
export function memoryStore(): OpenStore {
  const stores = new Map<string, MemoryStore>();
  return async (name) => {
    const store = stores.get(name) ?? new MemoryStore();
    stores.set(name, store);
    return store;
  };
}

class MemoryStore implements Store {
  readonly place = "memory";
  #records = new Map<string, StoredRecord>();
  #fence = 0;
  #kept = new Map<string, string>();

  async save(fence: number | null, writes: readonly Write[]): Promise<Saved> {
    if (fence !== null && fence !== this.#fence) return fence < this.#fence ? "fenced" : "wiped";
    const added = writes.flatMap((write) => ("put" in write ? [nameText(write.put[0])] : []));
    if (fence === null && added.some((name) => this.#records.has(name))) return "exists";
    for (const write of writes) this.#write(write);
    return "saved";
  }

  async claim(beyond?: number): Promise<Claim> {
    const won = beyond === undefined || beyond >= this.#fence;
    if (won) this.#fence = (beyond ?? this.#fence) + 1;
    return { fence: this.#fence, won };
  }

  async read(all: boolean): Promise<StoredRecord[]> {
    const records = [...this.#records.values()];
    return all ? records : records.filter(([name]) => typeof name !== "string" && "entry" in name);
  }

  async keep(name: string, text: string | null): Promise<void> {
    if (text === null) this.#kept.delete(name);
    else this.#kept.set(name, text);
  }

  async kept(): Promise<Iterable<readonly [string, string]>> {
    return [...this.#kept];
  }

  async destroy(): Promise<void> {
    this.#kept.clear();
    this.#records.clear();
    this.#fence += 1;
  }

  async close(): Promise<void> {
    // Whoever opens it again finds what it held.
  }

  #write(write: Write): void {
    if ("put" in write) this.#records.set(nameText(write.put[0]), write.put);
    else if ("remove" in write) this.#records.delete(nameText(write.remove));
    else {
      const { entityType, generation } = write.clear;
      for (const [key, [name]] of this.#records) {
        if (typeof name !== "string" && "row" in name && name.row.entityType === entityType
          && name.row.generation === generation) this.#records.delete(key);
      }
    }
  }
}

function nameText(name: RecordName): string {
  if (typeof name === "string") return name;
  if ("entry" in name) return `entry ${name.entry}`;
  if ("journal" in name) return `journal ${name.journal}`;
  return JSON.stringify([name.row.generation, name.row.entityType, name.row.entityId]);
}
