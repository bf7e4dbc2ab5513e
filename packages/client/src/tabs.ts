// Who speaks for a store among the tabs of a browser, and what tabs say to each other.
// Laws: whoever holds the Web Lock leads, and raised the store's fence before it says so; a tab that took over by
// silence takes the lock away, so that one tab has both. Without Web Locks the machine's own takeover does it alone.

import type { Store } from "./store.js";

/** A tab that was told to stop is waited for so long. */
const STOP_MS = 5_000;

/** What one tab says to all others over the same store. */
export type TabMessage = { readonly machine: string } | { readonly stop: true };

/** What happens to a tab. */
export interface TabEvents {
  /** It speaks for the store from now on, under this fence. */
  lead(fence: number): void;
  /** Another tab took over. */
  follow(): void;
  /** Another tab said something. */
  said(message: TabMessage): void;
}

/** One tab among those over a store. */
export class Tabs {
  readonly #name: string;
  readonly #store: Store;
  readonly #channel: BroadcastChannel | undefined;
  readonly #closing = new AbortController();
  #events: TabEvents | undefined;
  #release: (() => void) | undefined;
  #fence: number | undefined;
  #leave: (() => void) | undefined;

  constructor(name: string, store: Store) {
    this.#name = name;
    this.#store = store;
    // What is in memory only is nobody else's.
    if (store.place === "device" && typeof BroadcastChannel === "function") this.#channel = new BroadcastChannel(name);
  }

  /**
   * Takes the lead where nobody has it; returns the fence, to be told once the store was read, or undefined where another
   * tab leads. Fails where the store takes no fence.
   */
  async begin(): Promise<number | undefined> {
    if (this.#isAlone()) return (await this.#store.claim()).fence;
    await this.#take({ ifAvailable: true });
    if (this.#release && this.#fence === undefined) throw new Error("the store takes no fence");
    return this.#fence;
  }

  /** Hears the others from now on, and waits for its turn to lead. */
  join(events: TabEvents): void {
    this.#events = events;
    if (this.#channel) this.#channel.onmessage = (event: MessageEvent<TabMessage>) => events.said(event.data);
    if (this.#isAlone()) return;
    if (this.#fence === undefined) void this.#queue();
    const open = new Promise<void>((leave) => { this.#leave = leave; });
    void navigator.locks.request(this.#openName, { mode: "shared" }, () => open);
  }

  /** Stops all other tabs, and waits until what they were saving is saved; a tab that hangs is not waited for for ever. */
  async stopOthers(): Promise<void> {
    this.say({ stop: true });
    if (this.#isAlone()) return;
    this.#leave?.();
    const signal = AbortSignal.timeout(STOP_MS);
    await navigator.locks.request(this.#openName, { signal }, () => undefined).catch(() => undefined);
  }

  /** Whether this tab has the lock, or needs none. */
  get leads(): boolean {
    return this.#release !== undefined || this.#isAlone();
  }

  /** The machine took over from a silent leader: the lock comes along. */
  wonBySilence(): void {
    if (this.#release || this.#isAlone()) return;
    void this.#take({ steal: true }, false);
  }

  /** Says something to the other tabs. */
  say(message: TabMessage): void {
    this.#channel?.postMessage(message);
  }

  /** Leaves; whoever waits for the lock has it at once. */
  close(): void {
    this.#closing.abort();
    this.#release?.();
    this.#leave?.();
    this.#channel?.close();
  }

  /** The name of the lock that every tab shares while it is open. */
  get #openName(): string {
    return `${this.#name}:open`;
  }

  /** Without Web Locks the newest tab leads, and the fence stops the others. */
  #isAlone(): boolean {
    return this.#store.place === "memory" || typeof navigator === "undefined" || !navigator.locks;
  }

  async #queue(): Promise<void> {
    await this.#take({ signal: this.#closing.signal });
    if (this.#fence !== undefined && !this.#closing.signal.aborted) this.#events?.lead(this.#fence);
  }

  /** Asks for the lock; returns once it was granted or refused. It is held until `close`, or until it is stolen. */
  #take(options: LockOptions, raise = true): Promise<void> {
    return new Promise((settled) => {
      const held = async (lock: Lock | null) => {
        if (!lock || this.#closing.signal.aborted) return settled();
        const released = new Promise<void>((release) => { this.#release = release; });
        // A fence that cannot be raised is not led under; the machine claims it later.
        if (raise) this.#fence = await this.#store.claim().then((claim) => claim.fence, () => undefined);
        settled();
        await released;
      };
      navigator.locks.request(this.#name, options, held).catch(() => {
        settled();
        this.#lost();
      });
    });
  }

  /** The lock was stolen, or the tab closes. */
  #lost(): void {
    const led = this.#release !== undefined;
    this.#release?.();
    this.#release = undefined;
    this.#fence = undefined;
    if (this.#closing.signal.aborted) return;
    if (led) this.#events?.follow();
    void this.#queue();
  }
}
