// Which way a stream comes: over the one WebSocket of the user, as server-sent events where a proxy takes no WebSocket, or
// by asking again and again where it holds streams back.
// Laws: every way begins where the machine is, so changing it passes nothing over; a way is blamed only where a lesser one
// got through, so a network that is down is no reason to go slower; what was blamed is tried again later.

import { CUT, type End, type Hearing, readEvents } from "./eventstream.js";
import type { From, Http } from "./http.js";
import { poll } from "./longpoll.js";
import type { SocketEnd, Sockets } from "./socket.js";

/** How a stream comes. */
export type Way = "socket" | "events" | "polling";

/** A socket that was refused is left alone for so long: a server that had just begun may have it a moment later. */
const REFUSED_MS = 15_000;
/** Streams that were held back are left alone for so long: trying them holds changes up. */
const HELD_BACK_MS = 5 * 60_000;
/** Each time it is so many times as long, up to this. */
const LONGER = 4;
const BLAMED_MAX_MS = 60 * 60_000;

/** Whether a better way may be tried again is looked at so often. */
const LOOK_MS = 5_000;

/** What one stream needs. */
export interface Asked {
  readonly org: string;
  readonly http: Http;
  readonly from: From;
  readonly token: () => Promise<string>;
  readonly hearing: Hearing;
  readonly signal: AbortSignal;
  /** Hears on which way something came. */
  readonly came: (way: Way) => void;
}

/** A way that may have to be left alone for a while. */
class Trust {
  readonly #firstMs: number;
  #untilMs = 0;
  #nextMs: number;

  constructor(firstMs: number) {
    this.#firstMs = this.#nextMs = firstMs;
  }

  get holds(): boolean {
    return performance.now() >= this.#untilMs;
  }

  blame(): void {
    this.#untilMs = performance.now() + this.#nextMs;
    this.#nextMs = Math.min(BLAMED_MAX_MS, this.#nextMs * LONGER);
  }

  earn(): void {
    this.#nextMs = this.#firstMs;
  }
}

/** One user's ways to one server. */
export class Wire {
  readonly #sockets: Sockets | undefined;
  readonly #socket: Trust;
  readonly #events: Trust;
  readonly #lookMs: number;
  /** How often in a row a stream fell silent after it had spoken: once is a network that changed, twice a proxy. */
  #fellSilent = 0;

  constructor(sockets?: Sockets, { refusedMs = REFUSED_MS, lookMs = LOOK_MS } = {}) {
    this.#sockets = sockets;
    this.#socket = new Trust(refusedMs);
    this.#events = new Trust(HELD_BACK_MS);
    this.#lookMs = lookMs;
  }

  /** Runs a stream until it ends. */
  async run(asked: Asked): Promise<End> {
    let { from } = asked;
    while (!asked.signal.aborted) {
      const passed: Trust[] = [];
      if (this.#sockets && this.#socket.holds) {
        const end = await this.#runSocket(this.#sockets, { ...asked, from });
        if (typeof end !== "string") return end;
        if (end === "refused") passed.push(this.#socket);
      } else if (this.#sockets) passed.push(this.#socket);
      if (this.#events.holds && this.#fellSilent < 2) {
        const end = await this.#runEvents({ ...asked, from }, passed);
        if (end !== "silent") return end;
      }
      passed.push(this.#events);
      const end = await this.#runPolls({ ...asked, from }, passed);
      if ("status" in end) return end;
      from = end;
    }
    return CUT;
  }

  async #runSocket(sockets: Sockets, asked: Asked): Promise<SocketEnd> {
    const token = await asked.token();
    return sockets.subscribe({ ...asked, token, hearing: this.#hears(asked, "socket", []) });
  }

  async #runEvents(asked: Asked, passed: readonly Trust[]): Promise<End | "silent"> {
    const { http, from, token } = asked;
    const abort = new AbortController();
    const stop = () => abort.abort();
    const shown = await token();
    asked.signal.addEventListener("abort", stop);
    if (asked.signal.aborted) stop();
    const looking = passed.includes(this.#socket) ? this.#lookForSocket(token, stop) : undefined;
    const hearing = this.#hears(asked, "events", passed);
    // It never fails.
    const end = await readEvents((signal) => http.open(from, shown, signal), hearing, abort.signal);
    clearInterval(looking);
    asked.signal.removeEventListener("abort", stop);
    this.#fellSilent = end === "fellSilent" ? this.#fellSilent + 1 : 0;
    return end === "fellSilent" ? CUT : end;
  }

  /** Beside what comes a slower way: once there is a socket after all, that ends, and comes back over it. */
  #lookForSocket(token: () => Promise<string>, found: () => void): ReturnType<typeof setInterval> {
    return setInterval(() => {
      if (!this.#socket.holds) return;
      const reached = token().then((shown) => this.#sockets?.reach(shown));
      void reached.then((there) => {
        if (there) found();
        else if (this.#socket.holds) this.#socket.blame();
      }, () => undefined);
    }, this.#lookMs);
  }

  async #runPolls(asked: Asked, passed: readonly Trust[]): Promise<End | From> {
    const hearing = this.#hears(asked, "polling", passed);
    let found = false;
    const looking = passed.includes(this.#socket) ? this.#lookForSocket(asked.token, () => { found = true; }) : undefined;
    try {
      const end = await poll(asked.from, { ...asked, hearing, mayEnd: () => found || this.#events.holds });
      if (!("status" in end)) this.#fellSilent = 0;
      return end;
    } finally {
      clearInterval(looking);
    }
  }

  /** Once something comes, what was passed over on the way here is blamed. */
  #hears({ hearing, came }: Asked, way: Way, passed: readonly Trust[]): Hearing {
    let first = true;
    const hear = () => {
      if (!first) return;
      first = false;
      for (const trust of passed) if (trust.holds) trust.blame();
      if (way === "socket") this.#socket.earn();
      if (way === "events") this.#events.earn();
      came(way);
    };
    return {
      heard: () => { hear(); hearing.heard(); },
      frame: (event, data) => { hear(); hearing.frame(event, data); },
    };
  }
}
