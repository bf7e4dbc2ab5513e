// The client of one user at one server: organisations on request, and signing out.
// Laws: one user's data and edits are kept apart from any other's, and are sent under that user's token only; nothing
// that a person typed goes away at signing out unless they said so. The tab that leads the user also opens what only
// other tabs have open, for as long as they do.

import { type Clock, deviceClock } from "./clock.js";
import { AntiphonError } from "./fault.js";
import { deviceStores } from "./indexeddb.js";
import { Lead } from "./lead.js";
import type { WasmSource } from "./machine.js";
import { type EntityMap, Organization } from "./organization.js";
import { type SocketMaker, Sockets } from "./socket.js";
import { type OpenStore, userName } from "./store.js";
import { Token, type TokenProvider } from "./token.js";
import { Wire } from "./wire.js";
import type { Json, OutboxExport } from "./words.js";

/** What a client is made of. */
export interface ClientOptions {
  /** The server's address, as `https://sync.example.com`. */
  readonly url: string;
  /** The user's id, as the `sub` of their tokens has it: whose data these are. */
  readonly user: string;
  /** Gives a token of the user; asked again before one ends and after the server refused one. */
  readonly getToken: TokenProvider;
  /** Keeps applications apart that share an origin; `app` where it is left out. */
  readonly application?: string;
  /** Where `core_bg.wasm` is, where a bundler does not find it. */
  readonly wasm?: WasmSource;
  /** Where records are kept, where it is not IndexedDB: `memoryStore()` in tests. */
  readonly storage?: OpenStore;
  /** Stands in for `fetch`. */
  readonly fetch?: typeof fetch;
  /** Stands in for the device's clocks and timers, but for those of the network: a `TestClock` in tests. */
  readonly clock?: Clock;
  /** Stands in for `WebSocket`; with null, or with a `fetch` of one's own and without this, none is used. */
  readonly webSocket?: SocketMaker | null;
}

/** What becomes of edits that the server does not have yet. */
export type PendingAtSignOut = "send" | "export" | "keep" | "discard";

/** One user at one server. */
export class Client<Entities extends EntityMap = Record<string, Record<string, Json>>> {
  readonly #options: ClientOptions;
  readonly #token: Token;
  readonly #wire: Wire;
  readonly #name: string;
  readonly #lead: Lead;
  readonly #open = new Map<string, Promise<Organization<Entities>>>();
  /** Open for other tabs only. */
  readonly #guests = new Map<string, Promise<Organization<Entities>>>();
  #leaving = false;

  /** @internal */
  constructor(options: ClientOptions) {
    this.#options = options;
    this.#token = new Token(options.getToken, options.user, options.clock);
    const { url, webSocket } = options;
    const none = webSocket === null || (webSocket === undefined && options.fetch !== undefined);
    // The browser's is looked for when it is needed: whoever renders on a server has a client as well.
    this.#wire = new Wire(none ? undefined : new Sockets(url, () => webSocket ?? globalThis.WebSocket, this.#token));
    this.#name = userName(options.application ?? "app", options.url, options.user);
    this.#lead = new Lead(this.#name, {
      needed: (names) => this.#serve(new Set([...names].map((name) => this.#orgOf(name)))),
      stop: () => {
        // They stay what `org` gives: signed out in another tab, nothing is opened anew here.
        for (const org of [...this.#open.values(), ...this.#guests.values()]) void org.then((one) => one.stop(), () => undefined);
        this.#guests.clear();
      },
    });
  }

  /** Opens an organisation's data; the same object for the same id. */
  org(id: string): Promise<Organization<Entities>> {
    const open = this.#open.get(id) ?? this.#guests.get(id) ?? Organization.open<Entities>(this.#sessionOptions(id));
    this.#guests.delete(id);
    this.#open.set(id, open);
    open.catch(() => { if (this.#open.get(id) === open) this.#open.delete(id); });
    return open;
  }

  /**
   * Signs out in all tabs, of every organisation that has data of the user on this device.
   *
   * `send` waits until everything is sent (for `timeoutMs`, then throws `OUTBOX_NOT_EMPTY` and removes nothing), `export`
   * gives the edits back as documents, `keep` leaves everything on this device for the next time, `discard` drops it.
   */
  async signOut(choice: { readonly pending: PendingAtSignOut; readonly timeoutMs?: number }): Promise<OutboxExport[]> {
    this.#leaving = true;
    try {
      if (choice.pending !== "keep") await this.#openAll();
      this.#serve(new Set());
      return await this.#signOut(choice.pending, choice.timeoutMs ?? 30_000);
    } finally {
      this.#leaving = false;
    }
  }

  /** Lets go of everything in this tab; what was saved stays on the device. */
  async close(): Promise<void> {
    this.#leaving = true;
    const open = [...this.#open.values(), ...this.#guests.values()];
    this.#open.clear();
    this.#guests.clear();
    for (const org of await Promise.allSettled(open)) if (org.status === "fulfilled") org.value.close();
    this.#leaving = false;
  }

  async #signOut(pending: PendingAtSignOut, timeoutMs: number): Promise<OutboxExport[]> {
    const open = await Promise.all(this.#open.values());
    for (const org of open) org.flushDrafts();
    this.#lead.stopOthers();
    const stopped = Promise.all(open.map((org) => org.othersStopped()));
    if (pending === "send") await allSent(open, stopped, timeoutMs);
    // Edits that other tabs saved are in the store, whoever leads.
    else await within(stopped, STOPPED_MS);
    this.#open.clear();
    const left = await Promise.all(open.map((org) => org.signOut(pending !== "keep")));
    return pending === "export" ? left.filter((outbox) => outbox.entries.length > 0) : [];
  }

  /** This tab leads, and these are open elsewhere: each needs a machine here, until its edits are sent. */
  #serve(needed: ReadonlySet<string>): void {
    for (const id of this.#leaving ? [] : needed) {
      if (this.#open.has(id) || this.#guests.has(id)) continue;
      const guest = Organization.open<Entities>(this.#sessionOptions(id));
      this.#guests.set(id, guest);
      guest.catch(() => this.#guests.delete(id));
    }
    for (const [id, guest] of this.#guests) {
      if (needed.has(id)) continue;
      void guest.then((org) => {
        if (this.#guests.get(id) !== guest || (this.#lead.leads && !this.#leaving && org.status.pending > 0)) return;
        this.#guests.delete(id);
        org.close();
      }, () => undefined);
    }
  }

  /** Opens what earlier visits left behind, too. */
  async #openAll(): Promise<void> {
    const { storage } = this.#options;
    const found = await (storage ? storage.names?.(`${this.#name}:`) : deviceStores(`${this.#name}:`)) ?? [];
    await Promise.all(found.map((name) => this.org(this.#orgOf(name))));
  }

  #orgOf(name: string): string {
    return decodeURIComponent(name.slice(this.#name.length + 1));
  }

  #sessionOptions(org: string) {
    const { url, user, application, wasm, storage } = this.#options;
    const fetcher = this.#options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    return {
      application: application ?? "app", url, user, org, token: this.#token, wire: this.#wire, lead: this.#lead, wasm, storage,
      fetch: fetcher, clock: this.#options.clock ?? deviceClock, closed: () => { this.#open.delete(org); },
    };
  }
}

/** Makes a client; nothing is opened or sent before the first `org`. */
export function createClient<Entities extends EntityMap = Record<string, Record<string, Json>>>(
  options: ClientOptions,
): Client<Entities> {
  if (options.user === "") throw new AntiphonError("USER_MISSING", "without a user, data could be sent under another's name");
  return new Client<Entities>(options);
}

/** Where no tab leads in so long, the store is read as it is. */
const STOPPED_MS = 6_000;

/** Tells whether `work` ends in time. */
async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<false>((resolve) => { timer = setTimeout(() => resolve(false), ms); });
  try {
    return await Promise.race([work.then(() => true as const), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function allSent<E extends EntityMap>(open: readonly Organization<E>[], stopped: Promise<unknown>, timeoutMs: number): Promise<void> {
  // Only the tab that leads knows all that waits.
  const sent = stopped.then(() => Promise.all(open.map((org) => org.sent())));
  const waits = !(await within(sent, timeoutMs))
    || open.some(({ status }) => status.conflicted + status.failed + status.pending > 0);
  if (waits) throw new AntiphonError("OUTBOX_NOT_EMPTY", "some changes could not be sent; nothing was removed");
}
