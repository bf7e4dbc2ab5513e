// The client of one user at one server: organisations on request, and signing out.
// Laws: one user's data and edits are kept apart from any other's, and are sent under that user's token only; nothing
// that a person typed goes away at signing out unless they said so.

import { AntiphonError } from "./fault.js";
import { deviceStores } from "./indexeddb.js";
import type { WasmSource } from "./machine.js";
import { type EntityMap, Organization } from "./organization.js";
import { type OpenStore, storeName } from "./store.js";
import { Token, type TokenProvider } from "./token.js";
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
}

/** What becomes of edits that the server does not have yet. */
export type PendingAtSignOut = "send" | "export" | "keep" | "discard";

/** One user at one server. */
export class Client<Entities extends EntityMap = Record<string, Record<string, Json>>> {
  readonly #options: ClientOptions;
  readonly #token: Token;
  readonly #open = new Map<string, Promise<Organization<Entities>>>();

  /** @internal */
  constructor(options: ClientOptions) {
    this.#options = options;
    this.#token = new Token(options.getToken, options.user);
  }

  /** Opens an organisation's data; the same object for the same id. */
  org(id: string): Promise<Organization<Entities>> {
    const open = this.#open.get(id) ?? Organization.open<Entities>(this.#sessionOptions(id));
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
    if (choice.pending !== "keep") await this.#openAll();
    const open = await Promise.all(this.#open.values());
    const stopped = Promise.all(open.map((org) => org.stopOthers()));
    if (choice.pending === "send") await allSent(open, stopped, choice.timeoutMs ?? 30_000);
    // Edits that other tabs saved are in the store, whoever leads.
    else await within(stopped, STOPPED_MS);
    const remove = choice.pending !== "keep";
    this.#open.clear();
    const left = await Promise.all(open.map((org) => org.signOut(remove)));
    return choice.pending === "export" ? left.filter((outbox) => outbox.entries.length > 0) : [];
  }

  /** Lets go of everything in this tab; what was saved stays on the device. */
  async close(): Promise<void> {
    const open = await Promise.allSettled(this.#open.values());
    this.#open.clear();
    for (const org of open) if (org.status === "fulfilled") org.value.close();
  }

  /** Opens what earlier visits left behind, too. */
  async #openAll(): Promise<void> {
    const { application, url, user, storage } = this.#sessionOptions("");
    const prefix = storeName(application, url, user, "");
    const found = storage ? [] : await deviceStores(prefix);
    await Promise.all(found.map((name) => this.org(decodeURIComponent(name.slice(prefix.length)))));
  }

  #sessionOptions(org: string) {
    const { url, user, application, wasm, storage } = this.#options;
    const fetcher = this.#options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    return { application: application ?? "app", url, user, org, token: this.#token, wasm, storage, fetch: fetcher };
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
