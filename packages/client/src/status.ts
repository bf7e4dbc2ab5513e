// How the client stands, in words that an application can show.
// Law: it says what is, not what is hoped: online means that the server answered; a notice stays while it is true.

import { explain } from "./fault.js";
import type { Way } from "./wire.js";
import type { MachineStatus } from "./words.js";

/** How the client stands. */
export interface Status {
  /** Whether the server answers. */
  readonly connection: "connecting" | "online" | "offline" | "refused";
  /** HTTP's status, where the server refuses. */
  readonly refusedStatus: number | null;
  /**
   * How changes come to this tab: as they happen, or (`polling`) by asking again and again, because something on the way
   * holds streams back; null where none come from the server now, or by the tab that leads.
   */
  readonly transport: Way | null;
  /** Whether this tab is the one that speaks with the server. */
  readonly leading: boolean;
  /** Whether every type that is kept whole is here. */
  readonly listed: boolean;
  /** Rows that are here. */
  readonly rows: number;
  /** Edits that wait to be sent, are on their way, or are not confirmed. */
  readonly pending: number;
  /** Edits that wait for a person. */
  readonly conflicted: number;
  /** Edits that were refused, and wait for a person. */
  readonly failed: number;
  /** Up to when the database is known here, RFC 3339. */
  readonly asOf: string | null;
  /** Whether edits are kept on this device, or in memory only. */
  readonly storage: "device" | "memory";
  /** Whether the browser promised to keep what is here; null until it was asked, at the first edit. */
  readonly persisted: boolean | null;
  /** What a person should know, by code, most pressing first; `message` says it in words. */
  readonly notices: readonly { readonly code: string; readonly message: string }[];
}

/** Keeps what is known of the client, and tells who listens. */
export class StatusBoard {
  #storage: "device" | "memory";
  readonly #notices = new Set<string>();
  readonly #listeners = new Set<(status: Status) => void>();
  #machine: MachineStatus | undefined;
  #persisted: boolean | null = null;
  #way: Way | null = null;
  #refusal: string | null = null;
  #status: Status;

  constructor(storage: "device" | "memory") {
    this.#storage = storage;
    this.#status = this.#make();
  }

  /** How it stands now; the same object until it changes. */
  get current(): Status {
    return this.#status;
  }

  /** Calls `listener` at once and after each change, until the returned function is called. */
  subscribe(listener: (status: Status) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#status);
    return () => { this.#listeners.delete(listener); };
  }

  /** Takes in what the machine says. */
  machine(status: MachineStatus): void {
    this.#machine = status;
    this.#change();
  }

  /** Nothing is kept on the device from now on; the code says why. */
  inMemory(code: string): void {
    this.#storage = "memory";
    this.notice(code, true);
  }

  /** Changes come in this way from now on. */
  came(way: Way | null): void {
    if (this.#way === way) return;
    this.#way = way;
    this.#change();
  }

  /** The browser said whether it keeps what is here. */
  persisted(persisted: boolean): void {
    this.#persisted = persisted;
    this.#change();
  }

  /** The server refused this user by this code, as far as it gave one. */
  refused(code: string | null): void {
    this.#refusal = code;
  }

  /** Sets a notice, or takes it back. */
  notice(code: string, holds: boolean): void {
    if (this.#notices.has(code) === holds) return;
    if (holds) this.#notices.add(code);
    else this.#notices.delete(code);
    this.#change();
  }

  #change(): void {
    this.#status = this.#make();
    for (const listener of [...this.#listeners]) listener(this.#status);
  }

  /** Why nothing is served: the user is refused, or the server, or a proxy before it, cannot answer. */
  #refusedCode(status: number): string {
    if (status === 401) return this.#refusal ?? "UNAUTHENTICATED";
    // A tab that follows was told by no answer: it knows what the machine of the one that leads says.
    return status === 403 ? this.#refusal ?? (this.#machine?.expelled ? "NOT_A_MEMBER" : "FORBIDDEN") : "TRY_AGAIN";
  }

  #make(): Status {
    const machine = this.#machine;
    const network = machine?.network ?? "connecting";
    const notSaving = machine?.notSaving;
    const codes = [...this.#notices];
    if (notSaving) codes.unshift(notSaving === "full" ? "STORE_FULL" : "STORE_UNAVAILABLE");
    if (typeof network !== "string") codes.unshift(this.#refusedCode(network.refused));
    const offline = network !== "online" && network !== "connecting";
    if (offline && machine && machine.pending > 0 && this.#persisted === false) codes.push("STORE_NOT_PERSISTED");
    return {
      connection: typeof network === "string" ? network : "refused",
      refusedStatus: typeof network === "string" ? null : network.refused,
      transport: this.#way,
      leading: machine?.leading ?? false,
      listed: machine?.listed ?? false,
      rows: machine?.rows ?? 0,
      pending: machine?.pending ?? 0,
      conflicted: machine?.conflicted ?? 0,
      failed: machine?.failed ?? 0,
      asOf: machine?.asOf ?? null,
      storage: this.#storage,
      persisted: this.#persisted,
      notices: codes.map((code) => ({ code, message: explain(code) })),
    };
  }
}
