// The loop that connects the machine with the page: call, do what it wants, call again when something happened.
// Laws: it decides nothing about data; everything that the machine wants is done in its order; what was on its way when
// it closes is in doubt and kept. After it has closed nothing of it runs.

import type { Clock } from "./clock.js";
import { CUT, type End, type Hearing } from "./eventstream.js";
import { AntiphonError } from "./fault.js";
import { type Http, problemCode } from "./http.js";
import { answerOf, type Machine } from "./machine.js";
import type { Store } from "./store.js";
import { together } from "./telling.js";
import type { Token } from "./token.js";
import type { Way, Wire } from "./wire.js";
import type { StoredRecord, Told, Want } from "./words.js";

/** The machine is looked at so often, whatever it waits for. */
const IDLE_MS = 60_000;

/** What the driver brings together. */
export interface Parts {
  readonly clock: Clock;
  readonly machine: Machine;
  readonly store: Store;
  readonly org: string;
  readonly http: Http;
  readonly wire: Wire;
  readonly token: Token;
  /** Says something to the other tabs over the same store. */
  readonly share: (message: string) => void;
  /** Hears what the machine tells; it may call the driver. */
  readonly told: (told: Told) => void;
  /** Hears why a token could not be had, or null once one came. */
  readonly tokenState: (fault: AntiphonError | null) => void;
  /** Hears how the stream comes, or null where there is none. */
  readonly came: (way: Way | null) => void;
  /** Hears by which code the server refused this user, or null where it gave none. */
  readonly refused: (code: string | null) => void;
  /** The machine took over from a leader that was silent, under this fence. */
  readonly wonBySilence: (fence: number) => void;
  /** Hears by how much this device's clock is ahead of the server's. */
  readonly clockAhead: (ms: number) => void;
  /** Somebody emptied the store, which had this fence; the machine is to be made anew. */
  readonly wiped: (fence: number) => void;
  /** The machine broke; the driver has closed. */
  readonly broken: (fault: AntiphonError) => void;
}

/** Drives one machine. */
export class Driver {
  readonly #parts: Parts;
  readonly #requests = new Map<number, AbortController>();
  #stream: { id: number; abort: AbortController } | undefined;
  #unwake: (() => void) | undefined;
  /** When the timer is to tick, by the steady clock. */
  #dueMs = Number.POSITIVE_INFINITY;
  #closed = false;
  /** What is to be told once the call that said it has ended. */
  #tells: Told[] = [];

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Makes the machine of what the store held; returns what it cannot open, or null. */
  start(records: readonly StoredRecord[]): { corrupt: unknown } | null {
    const random = crypto.getRandomValues(new Uint32Array(5));
    const source = `b${[...random.subarray(0, 4)].map((part) => part.toString(36)).join("")}`;
    const config = { source, seed: random[4] ?? 0, deleteAsks: true, subsetsBytesMax: 32 << 20 };
    const result = this.call({ do: "start", config, records }) as { corrupt?: unknown } | null;
    return result?.corrupt === undefined ? null : { corrupt: result.corrupt };
  }

  /** Calls the machine and does what it wants; returns the result. */
  call(verb: Readonly<Record<string, unknown>>): unknown {
    if (this.#closed) throw new AntiphonError("CLOSED");
    const { clock } = this.#parts;
    const now = { wallMs: Math.max(0, clock.wallMs()), tickMs: Math.floor(clock.tickMs()) };
    let answer;
    try {
      answer = answerOf(this.#parts.machine, { now, ...verb });
    } catch (error) {
      if (error instanceof AntiphonError) throw error;
      const fault = new AntiphonError("CORE_FAULT", String(error));
      this.close();
      this.#parts.broken(fault);
      throw fault;
    }
    for (const want of answer.outputs) this.#perform(want);
    this.#wake(answer.wakeAtMs, now.tickMs);
    return answer.result;
  }

  /** Says that something happened; after the end nothing happens any more. */
  happen(verb: Readonly<Record<string, unknown>>): void {
    if (!this.#closed) this.call(verb);
  }

  /** Stops everything that is on its way. */
  close(): void {
    this.#closed = true;
    this.#unwake?.();
    for (const request of this.#requests.values()) request.abort();
    this.#requests.clear();
    this.#endStream();
  }

  #wake(wakeAtMs: number | null, nowMs: number): void {
    // What is due already is not put off by a call that only looks: its answer names what comes after.
    if (this.#closed || this.#dueMs <= nowMs) return;
    this.#unwake?.();
    this.#dueMs = Math.min(wakeAtMs ?? Number.POSITIVE_INFINITY, nowMs + IDLE_MS);
    this.#unwake = this.#parts.clock.after(Math.max(1, this.#dueMs - nowMs), () => {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.happen({ do: "tick" });
    });
  }

  #perform(want: Want): void {
    switch (want.want) {
      case "request": void this.#request(want.id, want.request); break;
      case "cancel": this.#requests.get(want.id)?.abort(); this.#requests.delete(want.id); break;
      case "open": void this.#open(want); break;
      case "close": if (this.#stream?.id === want.stream) this.#endStream(); break;
      case "save": void this.#save(want); break;
      case "claim": void this.#claim(want.beyond); break;
      case "read": void this.#read(want.token, want.all); break;
      case "share": this.#parts.share(want.message); break;
      case "tell": this.#tell(want); break;
    }
  }

  #tell(told: Told): void {
    if (told.told === "tokenWanted") this.#parts.token.refuse();
    if (this.#tells.push(told) > 1) return;
    queueMicrotask(() => {
      const tells = this.#tells;
      this.#tells = [];
      for (const one of together(tells)) this.#parts.told(one);
    });
  }

  async #tokenNow(): Promise<string> {
    try {
      const token = await this.#parts.token.current();
      this.#parts.tokenState(null);
      return token;
    } catch (error) {
      const fault = error instanceof AntiphonError ? error : new AntiphonError("TOKEN_UNAVAILABLE", String(error));
      this.#parts.tokenState(fault);
      throw fault;
    }
  }

  async #request(id: number, request: Extract<Want, { want: "request" }>["request"]): Promise<void> {
    const abort = new AbortController();
    this.#requests.set(id, abort);
    let answer;
    try {
      const token = await this.#tokenNow();
      abort.signal.throwIfAborted();
      answer = await this.#parts.http.ask(request, token, abort.signal);
      if (answer.serverMs !== null) this.#parts.clockAhead(this.#parts.clock.wallMs() - answer.serverMs);
      if (refuses(answer.status)) this.#parts.refused(problemCode(answer.body));
    } catch {
      answer = undefined;
    }
    // A request that was cancelled meanwhile is of no interest.
    if (!this.#requests.delete(id)) return;
    this.happen(answer ? { do: "answer", id, ...answer } : { do: "noAnswer", id });
  }

  async #open({ stream, offset, epoch, access }: Extract<Want, { want: "open" }>): Promise<void> {
    this.#endStream();
    const abort = new AbortController();
    this.#stream = { id: stream, abort };
    const say = (verb: Record<string, unknown>) => {
      if (this.#stream?.abort === abort) this.happen({ ...verb, stream });
    };
    const hearing: Hearing = {
      heard: () => say({ do: "heard" }),
      frame: (event, data) => say({ do: "frame", event, data }),
    };
    const { org, http, wire, came } = this.#parts;
    const from = { offset, epoch, access };
    const token = () => this.#tokenNow();
    // Where it could not be opened, or was cut.
    const { code = null, ...end } = await wire.run({ org, http, from, token, hearing, signal: abort.signal, came }).catch((): End => CUT);
    if (end.status !== null && refuses(end.status)) this.#parts.refused(code);
    say({ do: "ended", ...end });
    if (this.#stream?.abort === abort) this.#endStream();
  }

  #endStream(): void {
    if (!this.#stream) return;
    this.#stream.abort.abort();
    this.#stream = undefined;
    this.#parts.came(null);
  }

  async #save(want: Extract<Want, { want: "save" }>): Promise<void> {
    const outcome = await this.#parts.store.save(want.fence, want.writes).catch(String);
    const { token } = want;
    if (outcome === "wiped" && !this.#closed && want.fence !== null) this.#parts.wiped(want.fence);
    // Where it cannot be made anew, it is to the machine as if another had taken over: it claims the store and reads it.
    const reason = outcome === "wiped" ? "fenced" : outcome;
    this.happen(reason === "saved" ? { do: "saved", token } : { do: "notSaved", token, reason });
  }

  async #claim(beyond: number): Promise<void> {
    // Where the store does not answer, nothing was won; the machine asks again.
    const claim = await this.#parts.store.claim(beyond).catch(() => ({ fence: beyond, won: false }));
    if (claim.won) this.#parts.wonBySilence(claim.fence);
    this.happen({ do: "claimed", ...claim });
  }

  async #read(token: number, all: boolean): Promise<void> {
    const records = await this.#parts.store.read(all).catch(() => undefined);
    this.happen(records ? { do: "read", token, records } : { do: "notRead", token });
  }
}

/** Tells whether an answer refuses the user, rather than what was asked. */
function refuses(status: number): boolean {
  return status === 401 || status === 403;
}
