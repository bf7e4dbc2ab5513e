// Who speaks for a store among the tabs of a browser, and what tabs say to each other.
// Laws: the tab that leads its user (see `lead.ts`) leads, and raised the store's fence before it says so; a tab that took
// over by silence takes the lock away, so that one tab has both. Without Web Locks the machine's own takeover does it
// alone.

import { type Lead, type Member, openName } from "./lead.js";
import type { Store } from "./store.js";

/** A tab that was told to stop is waited for so long. */
const STOP_MS = 5_000;

/** What happens to a tab. */
export interface TabEvents {
  /** It speaks for the store from now on, under this fence. */
  lead(fence: number): void;
  /** Another tab took over. */
  follow(): void;
  /** Another tab's machine said something. */
  said(message: string): void;
}

/** One tab among those over a store. */
export class Tabs implements Member {
  /** What it is called among them. */
  readonly id = crypto.randomUUID();
  readonly name: string;
  readonly #store: Store;
  readonly #user: Lead;
  readonly #channel: BroadcastChannel | undefined;
  readonly #closing = new AbortController();
  #events: TabEvents | undefined;
  #fence: number | undefined;
  #leave: (() => void) | undefined;

  constructor(name: string, store: Store, user: Lead) {
    this.name = name;
    this.#store = store;
    this.#user = user;
    // What is in memory only is nobody else's.
    if (store.place === "device" && typeof BroadcastChannel === "function") this.#channel = new BroadcastChannel(name);
  }

  /**
   * Takes the lead where nobody has it; returns the fence, to be told once the store was read, or undefined where another
   * tab leads. Fails where the store takes no fence.
   */
  async begin(): Promise<number | undefined> {
    if (this.#isAlone() || (await this.#user.enter(this))) this.#fence = (await this.#store.claim()).fence;
    return this.#fence;
  }

  /** Hears the others from now on, and waits for its turn to lead. */
  join(events: TabEvents): void {
    this.#events = events;
    if (this.#channel) this.#channel.onmessage = (event: MessageEvent<string>) => events.said(event.data);
    if (this.#isAlone()) return;
    if (this.#user.leads) void this.lead();
    this.#stayOpen();
    const closed = new Promise<void>((close) => { this.#closing.signal.addEventListener("abort", () => close()); });
    void navigator.locks.request(this.#tabName(this.id), () => closed);
  }

  /** Waits until the others, who were told to stop, have saved; a tab that hangs is not waited for for ever. */
  async othersStopped(): Promise<void> {
    if (this.#isAlone()) return;
    this.#leave?.();
    const signal = AbortSignal.timeout(STOP_MS);
    await navigator.locks.request(openName(this.name), { signal }, () => undefined).catch(() => undefined);
    if (!this.#closing.signal.aborted) this.#stayOpen();
  }

  /** The tabs that are open, as far as that can be known: this one at least. */
  async open(): Promise<ReadonlySet<string>> {
    if (this.#isAlone()) return new Set([this.id]);
    const { held = [] } = await navigator.locks.query();
    const prefix = this.#tabName("");
    return new Set([this.id, ...held.flatMap(({ name }) => (name?.startsWith(prefix) ? [name.slice(prefix.length)] : []))]);
  }

  /** Resolves once a tab that is open has gone; never where this one goes first. */
  async gone(id: string): Promise<void> {
    await navigator.locks.request(this.#tabName(id), { mode: "shared", signal: this.#closing.signal }, () => undefined);
  }

  /** Whether this tab has the lock, or needs none. */
  get leads(): boolean {
    return this.#user.leads || this.#isAlone();
  }

  /** The machine took over from a silent leader, under this fence. */
  wonBySilence(fence: number): void {
    if (this.#isAlone()) return;
    this.#fence = fence;
    this.#user.wonBySilence();
  }

  /** Says something to the other tabs. */
  say(message: string): void {
    this.#channel?.postMessage(message);
  }

  async lead(): Promise<void> {
    // Before it was joined, whoever begins has its own fence, or comes back to this.
    if (!this.#events || this.#fence !== undefined) return;
    // A fence that cannot be raised is not led under; the machine claims it later.
    const fence = await this.#store.claim().then((claim) => claim.fence, () => undefined);
    if (fence === undefined || this.#closing.signal.aborted || !this.#user.leads) return;
    this.#fence = fence;
    this.#events.lead(fence);
  }

  follow(): void {
    if (this.#fence === undefined) return;
    this.#fence = undefined;
    this.#events?.follow();
  }

  /** Leaves; whoever waits for the lead has it at once, where no other store of the user is open here. */
  close(): void {
    this.#closing.abort();
    this.#leave?.();
    this.#user.leave(this);
    this.#channel?.close();
  }

  #stayOpen(): void {
    const open = new Promise<void>((leave) => { this.#leave = leave; });
    void navigator.locks.request(openName(this.name), { mode: "shared" }, () => {
      this.#user.opened();
      return open;
    });
  }

  /** The name of the lock that a tab has for itself while it is open. */
  #tabName(id: string): string {
    return `${this.name}:tab:${id}`;
  }

  /** Without Web Locks the newest tab leads, and the fence stops the others. */
  #isAlone(): boolean {
    return this.#store.place === "memory" || typeof navigator === "undefined" || !navigator.locks;
  }
}
