// A store on a disk for Node, as editors have it: one SQLite file for each user's records of one organisation.
// Laws: the same as in browsers: a save is one transaction with the fence compared inside it, and what is told saved is on
// the disk; a file of a newer layout is left alone. It needs Node 22.13 or newer, which has SQLite inside, and refuses
// older ones. Several processes may open one file: each save is whole, and the fence says who leads.

import { AntiphonError } from "./fault.js";
import type { Claim, OpenStore, Saved, Store } from "./store.js";
import type { RecordName, StoredRecord, Write } from "./words.js";

/** The layout of the files; the records' own form has a version inside. */
const LAYOUT = 1;
/** Another process is waited for so long. */
const BUSY_MS = 2_000;
const ENDING = ".sqlite";
/** What SQLite calls a full disk. */
const FULL = 13;

/** As much of Node as is used here. */
interface Statement {
  run(...values: (string | number | null)[]): { changes: number | bigint };
  get(...values: (string | number | null)[]): Record<string, unknown> | undefined;
  all(...values: (string | number | null)[]): Record<string, unknown>[];
}
interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}
interface Files {
  mkdirSync(folder: string, options: { recursive: true; mode: number }): void;
  readdirSync(folder: string): string[];
  rmSync(file: string, options: { force: true }): void;
}
interface NodeProcess {
  getBuiltinModule?(name: "node:sqlite"): { DatabaseSync: new (path: string) => Database } | undefined;
  getBuiltinModule?(name: "node:fs"): Files;
}

/** Stores in files of this folder, which is made where it is not there, readable by this user only. */
export function fileStore(folder: string): OpenStore {
  const { process } = globalThis as unknown as { process?: NodeProcess };
  const sqlite = process?.getBuiltinModule?.("node:sqlite");
  const files = process?.getBuiltinModule?.("node:fs") as Files | undefined;
  if (!sqlite || !files) throw new AntiphonError("STORE_UNAVAILABLE", "a store in files needs Node 22.13 or newer");
  const remove = (path: string) => {
    for (const part of ["", "-wal", "-shm"]) files.rmSync(path + part, { force: true });
  };
  const open = async (name: string): Promise<Store> => {
    files.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const path = `${folder}/${encodeURIComponent(name)}${ENDING}`;
    return new FileStore(new sqlite.DatabaseSync(path), () => remove(path));
  };
  const names = async (prefix: string) => {
    files.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const found = files.readdirSync(folder).filter((file) => file.endsWith(ENDING));
    return found.map((file) => decodeURIComponent(file.slice(0, -ENDING.length))).filter((name) => name.startsWith(prefix));
  };
  return Object.assign(open, { names });
}

class FileStore implements Store {
  readonly place = "device";
  readonly #database: Database;
  readonly #remove: () => void;

  constructor(database: Database, remove: () => void) {
    this.#database = database;
    this.#remove = remove;
    database.exec(`pragma busy_timeout = ${BUSY_MS}; pragma journal_mode = wal; pragma synchronous = full`);
    const layout = Number(database.prepare("pragma user_version").get()?.user_version);
    if (layout > LAYOUT) {
      database.close();
      throw new AntiphonError("STORE_NEWER");
    }
    database.exec(`
      create table if not exists records (
        kind text not null, type text not null, generation integer not null, id text not null, text text not null,
        primary key (kind, type, generation, id)) without rowid;
      create table if not exists kept (name text primary key, text text not null) without rowid;
      create table if not exists fence (one integer primary key check (one = 1), fence integer not null);
      insert or ignore into fence values (1, 0);
      pragma user_version = ${LAYOUT}`);
  }

  async save(fence: number | null, writes: readonly Write[]): Promise<Saved> {
    let stopped: Saved | undefined;
    try {
      this.#inOne(() => {
        const present = this.#fence();
        if (fence !== null && fence !== present) stopped = fence < present ? "fenced" : "wiped";
        else stopped = this.#write(writes, fence === null);
        return stopped === undefined;
      });
    } catch (error) {
      return (error as { errcode?: number }).errcode === FULL ? "full" : String(error);
    }
    return stopped ?? "saved";
  }

  async claim(beyond?: number): Promise<Claim> {
    const claim = { fence: 0, won: false };
    this.#inOne(() => {
      claim.fence = this.#fence();
      claim.won = beyond === undefined || claim.fence <= beyond;
      if (claim.won) this.#database.prepare("update fence set fence = ?").run((claim.fence = (beyond ?? claim.fence) + 1));
      return true;
    });
    return claim;
  }

  async read(all: boolean): Promise<StoredRecord[]> {
    const rows = this.#database.prepare(`select * from records ${all ? "" : "where kind = 'entry'"}`).all();
    return rows.map((row) => [nameOf(row as unknown as Row), String(row.text)]);
  }

  async keep(name: string, text: string | null): Promise<void> {
    if (text === null) this.#database.prepare("delete from kept where name = ?").run(name);
    else this.#database.prepare("insert or replace into kept values (?, ?)").run(name, text);
  }

  async kept(): Promise<Iterable<readonly [string, string]>> {
    return this.#database.prepare("select name, text from kept").all().map(({ name, text }) => [String(name), String(text)]);
  }

  async destroy(): Promise<void> {
    this.#database.close();
    this.#remove();
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  #fence(): number {
    return Number(this.#database.prepare("select fence from fence").get()?.fence);
  }

  /** Does something in one transaction, which ends without effect where it returns false or throws. */
  #inOne(act: () => boolean): void {
    this.#database.exec("begin immediate");
    let done = false;
    try {
      done = act();
    } finally {
      this.#database.exec(done ? "commit" : "rollback");
    }
  }

  /** Writes everything, or says that one of what is only to be added is there. */
  #write(writes: readonly Write[], adds: boolean): Saved | undefined {
    const put = this.#database.prepare(`insert or ${adds ? "ignore" : "replace"} into records values (?, ?, ?, ?, ?)`);
    const remove = this.#database.prepare("delete from records where kind = ? and type = ? and generation = ? and id = ?");
    const clear = this.#database.prepare("delete from records where kind = 'row' and type = ? and generation = ?");
    for (const write of writes) {
      if ("put" in write) {
        if (Number(put.run(...placeOf(write.put[0]), write.put[1]).changes) === 0) return "exists";
      } else if (adds) continue;
      else if ("remove" in write) remove.run(...placeOf(write.remove));
      else clear.run(write.clear.entityType, write.clear.generation);
    }
    return undefined;
  }
}

interface Row {
  readonly kind: string;
  readonly type: string;
  readonly generation: number;
  readonly id: string;
}

function placeOf(name: RecordName): [kind: string, type: string, generation: number, id: string] {
  if (typeof name === "string") return ["single", "", 0, name];
  if ("entry" in name) return ["entry", "", 0, name.entry];
  if ("journal" in name) return ["journal", "", 0, name.journal];
  return ["row", name.row.entityType, name.row.generation, name.row.entityId];
}

function nameOf({ kind, type, generation, id }: Row): RecordName {
  if (kind === "single") return id as RecordName;
  if (kind === "entry") return { entry: id };
  if (kind === "journal") return { journal: id };
  return { row: { generation, entityType: type, entityId: id } };
}
