// One machine over one store in one tab, from opening to closing: what connects store, tabs, network and driver.
// Laws: the fence is raised before the store is read, where nobody else leads; a store of a newer build is left alone,
// and its outbox can be taken out; where the browser keeps nothing, that is told and memory serves.

import type { Clock } from "./clock.js";
import { Driver } from "./driver.js";
import { AntiphonError } from "./fault.js";
import { Http } from "./http.js";
import { openDeviceStore } from "./indexeddb.js";
import type { Lead } from "./lead.js";
import { keyOf, Leaving, type Left, notedEdits } from "./leaving.js";
import { answerOf, type Machine, makeMachine, type WasmSource } from "./machine.js";
import { type PageEvents, tellPage, watchPage } from "./page.js";
import type { Call } from "./reading.js";
import { StatusBoard } from "./status.js";
import { type Claim, memoryStore, type OpenStore, type Store, storeName } from "./store.js";
import { Tabs } from "./tabs.js";
import type { Token } from "./token.js";
import type { Wire } from "./wire.js";
import type { OutboxExport, StoredRecord, Told } from "./words.js";

/** A clock that is ahead by more makes ids that the server refuses; they are made anew by its time. */
const CLOCK_AHEAD_MS = 300_000;

/** What a session is made of. */
export interface SessionOptions {
  readonly application: string;
  readonly url: string;
  readonly user: string;
  readonly org: string;
  readonly token: Token;
  readonly wasm: WasmSource | undefined;
  readonly storage: OpenStore | undefined;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly wire: Wire;
  readonly lead: Lead;
  /** The application closed the organisation. */
  readonly closed: () => void;
}

/** One machine at work. */
export interface Session {
  readonly call: Call;
  readonly board: StatusBoard;
  /** Keeps a text of this tab beside the records, or forgets it; where there is no place for it, it lasts as long as the page. */
  readonly keep: (name: string, text: string | null) => void;
  /** What tabs that are gone have kept, by the same names; what they had not saved is taken up before. */
  readonly left: () => Promise<Left[]>;
  exportOutbox(): OutboxExport;
  close(): void;
  othersStopped(): Promise<void>;
  signOut(remove: boolean): Promise<OutboxExport>;
}

/** What a session says. */
export interface Hearing {
  /** What the machine tells. */
  told(told: Told): void;
  /** The machine began anew: what is wanted of it has to be wanted again. */
  restarted(): void;
  /** The page is hidden or the session about to close: the last chance to edit. */
  leaving(): void;
  /** A tab has gone that left something. */
  left(): void;
  /** The keys of edits that were made here and are not saved. */
  unsaved(): ReadonlySet<string>;
}

/** Opens the store, reads it, and sets the machine to work; `hearing` may be filled in once it is there. */
export async function openSession(options: SessionOptions, hearing: Partial<Hearing>): Promise<Session> {
  const name = storeName(options.application, options.url, options.user, options.org);
  const found = await openStore(name, options.storage);
  const opening = new Opening(options, name, found.store, hearing);
  if (found.blocked) opening.board.inMemory(found.blocked);
  await opening.begin();
  return opening;
}

async function openStore(name: string, storage: OpenStore | undefined): Promise<{ store: Store; blocked: string | null }> {
  try {
    return { store: await (storage ?? openDeviceStore)(name), blocked: null };
  } catch (error) {
    const newer = error instanceof DOMException ? error.name === "VersionError" : codeIn(error) === "STORE_NEWER";
    // A place that the application chose is not left without a word.
    if (storage && !newer) throw error;
    return { store: await memoryStore()(name), blocked: newer ? "STORE_NEWER" : "STORE_IN_MEMORY" };
  }
}

function codeIn(error: unknown): string | undefined {
  return error instanceof AntiphonError ? error.code : undefined;
}

class Opening implements Session {
  readonly board: StatusBoard;
  readonly #options: SessionOptions;
  readonly #name: string;
  readonly #hearing: Partial<Hearing>;
  readonly #ending = new AbortController();
  readonly #leaving: Leaving;
  #store: Store;
  #tabs: Tabs;
  #driver: Driver | undefined;
  #machine: Machine | undefined;
  #persistAsked = false;
  #recovered = false;
  /** The outbox of a store that a newer build wrote. */
  #newer: OutboxExport | undefined;

  constructor(options: SessionOptions, name: string, store: Store, hearing: Partial<Hearing>) {
    this.#options = options;
    this.#name = name;
    this.#store = store;
    this.#hearing = hearing;
    this.#tabs = new Tabs(name, store, options.lead);
    this.board = new StatusBoard(store.place);
    this.#leaving = new Leaving({
      name, store: () => this.#store, tabs: () => this.#tabs, call: (verb) => this.call(verb),
      exportOutbox: () => this.exportOutbox(), unsaved: () => hearing.unsaved?.() ?? new Set(), more: () => hearing.left?.(),
    });
  }

  readonly #page: PageEvents = {
    happen: (verb) => this.#driver?.happen(verb), hidden: () => this.#leave(), close: () => this.close(),
  };

  readonly call: Call = (verb) => {
    if (!this.#driver) throw new AntiphonError("CLOSED");
    return this.#driver.call(verb);
  };

  readonly keep = (name: string, text: string | null): void => this.#leaving.keep(name, text);

  readonly left = (): Promise<Left[]> => this.#leaving.left();

  async begin(): Promise<void> {
    const machine = await makeMachine(this.#options.wasm);
    this.#machine = machine;
    let fence: number | undefined;
    let records: StoredRecord[];
    try {
      fence = await this.#tabs.begin();
      records = await this.#store.read(true);
    } catch {
      // A device so full that it takes not even a number, or that does not read: what can be read goes on in memory.
      records = await this.#store.read(true).catch(() => []);
      fence = await this.#goOnInMemory(records, "STORE_UNAVAILABLE");
    }
    let driver = this.#makeDriver(machine);
    if (driver.start(records)) {
      this.#newer = await this.#outboxOf(records);
      driver.close();
      fence = await this.#goOnInMemory([], "STORE_NEWER");
      driver = this.#makeDriver(machine);
      driver.start([]);
    }
    this.#driver = driver;
    if (fence !== undefined) driver.call({ do: "lead", fence });
    this.#tabs.join({
      lead: (granted) => this.#driver?.happen({ do: "lead", fence: granted }),
      follow: () => this.#driver?.happen({ do: "follow" }),
      said: (message) => this.#driver?.happen({ do: "shared", message }),
    });
    watchPage(this.#page, this.#ending.signal);
    this.#leaving.watch(this.#ending.signal);
  }

  /** What was typed becomes edits, and what is not saved is noted: nothing more may happen here. */
  #leave(): void {
    if (!this.#driver) return;
    this.#hearing.leaving?.();
    this.#leaving.note();
  }

  exportOutbox(): OutboxExport {
    return this.#newer ?? (this.call({ do: "export", owner: this.#owner() }) as OutboxExport);
  }

  close(): void {
    this.#leave();
    const driver = this.#driver;
    this.#ending.abort();
    // Closed by another tab's signing out, this one's page has to hear of it.
    this.board.notice("CLOSED", true);
    if (!driver) return;
    this.#driver = undefined;
    // The others hear at once that the fence is free; saves that are on their way end by themselves.
    driver.happen({ do: "follow" });
    driver.close();
    this.#machine?.free();
    // Nobody else has the lock before what was being saved is saved.
    void this.#store.close().finally(() => this.#tabs.close());
  }

  othersStopped(): Promise<void> {
    return this.#tabs.othersStopped();
  }

  async signOut(remove: boolean): Promise<OutboxExport> {
    const shown = this.exportOutbox();
    this.close();
    const store = (await openStore(this.#name, this.#options.storage)).store;
    // What other tabs saved last may not have come here; what could not be saved is only here.
    const kept = await this.#outboxOf(await store.read(false));
    if (remove) await store.destroy();
    else await store.close();
    const known = new Set<string>();
    const entries = [...kept.entries, ...shown.entries, ...notedEdits(this.#name, remove)]
      .filter((entry) => !known.has(keyOf(entry)) && known.add(keyOf(entry)));
    return { ...kept, entries };
  }

  /** Leaves the store on the device as it is; what is sent of its outbox is known to the server by its ids next time. */
  async #goOnInMemory(records: readonly StoredRecord[], code: string): Promise<number | undefined> {
    this.#tabs.close();
    await this.#store.close();
    this.#store = await memoryStore()(this.#name);
    await this.#store.save(0, records.map((put) => ({ put })));
    this.#tabs = new Tabs(this.#name, this.#store, this.#options.lead);
    this.board.inMemory(code);
    return this.#tabs.begin();
  }

  #makeDriver(machine: Machine): Driver {
    const { url, org, token, wire, clock, fetch: fetcher } = this.#options;
    return new Driver({
      clock,
      machine,
      store: this.#store,
      org,
      http: new Http(url, org, fetcher),
      wire,
      token,
      came: (way) => this.board.came(way),
      share: (message) => this.#tabs.say(message),
      told: (told) => {
        if (!this.#driver) return;
        if (told.told === "status" && told.about.pending > 0) this.#askToPersist();
        this.#hearing.told?.(told);
        if (told.told === "saved") this.#leaving.saved(told.about);
      },
      wiped: (fence) => void this.#refill(machine, fence),
      wonBySilence: (fence) => this.#tabs.wonBySilence(fence),
      tokenState: (fault) => {
        for (const code of ["TOKEN_UNAVAILABLE", "TOKEN_OF_ANOTHER_USER"]) this.board.notice(code, fault?.code === code);
      },
      clockAhead: (ms) => this.board.notice("CLOCK_AHEAD", ms > CLOCK_AHEAD_MS),
      refused: (code) => this.board.refused(code),
      broken: (fault) => void this.#recover(fault).catch(() => this.#tabs.close()),
    });
  }

  /** Browsers throw away what was not used for a while, unless they were asked not to; once there is something to lose. */
  #askToPersist(): void {
    if (this.#persistAsked || this.#store.place === "memory" || typeof navigator === "undefined") return;
    this.#persistAsked = true;
    void navigator.storage?.persist?.().then((persisted) => this.board.persisted(persisted), () => undefined);
  }

  /**
   * Somebody emptied the store: takes it again, and begins anew with what waits here. The edits are handed over in one
   * step, so whatever is typed meanwhile is among them; ids are kept, so what the server has changes nothing.
   */
  async #refill(machine: Machine, beyond: number): Promise<void> {
    const before = this.#driver;
    const claim = await this.#store.claim(beyond).catch(() => undefined);
    const records = await this.#store.read(true).catch(() => undefined);
    if (!claim || !records || !before || this.#driver !== before) return;
    const document = this.exportOutbox();
    before.close();
    this.#beginAnew(machine, claim, records, document);
  }

  /** The machine broke: another one goes on from what the store holds, once; a second time the page has to be loaded. */
  async #recover(fault: AntiphonError): Promise<void> {
    this.#driver = undefined;
    this.board.notice(fault.code, true);
    if (this.#recovered) return this.#tabs.close();
    this.#recovered = true;
    const machine = await makeMachine(this.#options.wasm);
    const claim = this.#tabs.leads ? await this.#store.claim() : { fence: 0, won: false };
    const records = await this.#store.read(true);
    if (this.#ending.signal.aborted) return;
    this.#machine = machine;
    this.#beginAnew(machine, claim, records);
    this.board.notice(fault.code, false);
  }

  #beginAnew(machine: Machine, claim: Claim, records: readonly StoredRecord[], document?: OutboxExport): void {
    const driver = this.#makeDriver(machine);
    driver.start(records);
    this.#driver = driver;
    if (claim.won) driver.call({ do: "lead", fence: claim.fence });
    tellPage(this.#page);
    if (document) driver.call({ do: "import", owner: this.#owner(), export: document });
    this.#hearing.restarted?.();
  }

  #owner() {
    return { user: this.#options.user, organization: this.#options.org };
  }

  async #outboxOf(records: readonly StoredRecord[]): Promise<OutboxExport> {
    const machine = await makeMachine(this.#options.wasm);
    const answer = answerOf(machine, { do: "storeOutbox", owner: this.#owner(), records });
    machine.free();
    return answer.result as OutboxExport;
  }
}
