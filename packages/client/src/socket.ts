// One WebSocket for all organisations of a user (protocol 4): who it is, what is subscribed to, and what it ends with.
// Laws: the token goes in the first message and in no address, and a new one before it ends; each organisation begins
// where its machine is; a socket that is silent for longer than it may be has ended, for all at once. It refuses to
// carry edits: those go by HTTP, where their answers have a status.

import { CUT, type End, type Hearing } from "./eventstream.js";
import type { From } from "./http.js";
import { Outgoing } from "./outgoing.js";
import { membersOf } from "./raw.js";
import { Silence } from "./silence.js";
import type { Token } from "./token.js";

/** The handshake and the greeting may take so long. */
const WELCOME_MS = 10_000;
/** It is asked whether it lives so often. */
const PING_MS = 10_000;
/** Two answers that did not come. */
const PROMISE_MS = 22_000;
/** A socket that nobody needs is kept for so long: whoever lists anew comes back soon. */
const LINGER_MS = 3_000;
/** A token that could not be renewed is tried again so soon. */
const RENEW_AGAIN_MS = 5_000;
/** Timers cannot wait for longer than that. */
const TIMER_MAX_MS = 2 ** 31 - 1;
/** So many changes are acknowledged together. */
const ACK_EVERY = 64;

/** What stands in for `WebSocket`. */
export type SocketMaker = new (url: string, protocols: string) => WebSocket;

/** What one organisation wants of the socket. */
export interface Subscribing {
  readonly org: string;
  readonly from: From;
  /** The token that is shown where the socket has to be opened. */
  readonly token: string;
  readonly hearing: Hearing;
  readonly signal: AbortSignal;
}

/**
 * How a subscription ended. `refused`: there was no socket to be had; `notHere`: this one does not take it, for a reason
 * that another way says better. Nothing was heard before either.
 */
export type SocketEnd = End | "refused" | "notHere";

/** Opens the socket when it is needed, and lets go of it after. */
export class Sockets {
  readonly #url: string;
  readonly #maker: () => SocketMaker;
  readonly #token: Token;
  #open: Socket | undefined;

  constructor(url: string, maker: () => SocketMaker, token: Token) {
    this.#url = `${url.replace(/\/+$/, "").replace(/^http/i, "ws")}/v1/ws`;
    this.#maker = maker;
    this.#token = token;
  }

  /** Subscribes, and returns how it ended. */
  subscribe(wish: Subscribing): Promise<SocketEnd> {
    return this.#socket(wish.token)?.subscribe(wish) ?? Promise.resolve("refused");
  }

  /** Tells whether there is a socket to be had; it stays open for a moment. */
  reach(token: string): Promise<boolean> {
    return this.#socket(token)?.reached() ?? Promise.resolve(false);
  }

  #socket(token: string): Socket | undefined {
    if (this.#open && !this.#open.over) return this.#open;
    try {
      const Maker = this.#maker();
      this.#open = new Socket(new Maker(this.#url, "antiphon.v1"), token, this.#token);
    } catch {
      // A policy of the page's forbids it, or an older Node has none.
      return undefined;
    }
    return this.#open;
  }
}

interface Subscription extends Subscribing {
  readonly id: string;
  readonly end: (end: SocketEnd) => void;
  changes: number;
}

class Socket {
  readonly #socket: WebSocket;
  readonly #token: Token;
  readonly #out: Outgoing;
  readonly #silence: Silence;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #pings: ReturnType<typeof setInterval>;
  #renewal: ReturnType<typeof setTimeout> | undefined;
  #lingers: ReturnType<typeof setTimeout> | undefined;
  readonly #reached: (() => void)[] = [];
  #welcome = false;
  #count = 0;
  over = false;

  constructor(socket: WebSocket, shown: string, token: Token) {
    this.#socket = socket;
    this.#token = token;
    this.#out = new Outgoing((text) => socket.send(text));
    this.#silence = new Silence(WELCOME_MS, () => this.#end(this.#welcome ? CUT : "refused"));
    this.#pings = setInterval(() => { if (this.#welcome) this.#out.say({ kind: "ping" }); }, PING_MS);
    socket.onopen = () => this.#out.say({ kind: "hello", token: shown });
    socket.onmessage = ({ data }) => this.#take(String(data));
    socket.onclose = ({ code }) => this.#end(this.#welcome || code === 4401 ? endOf(code) : "refused");
    this.#renewLater(token.dueInMs);
  }

  /** Resolves once it was greeted, or ended. */
  async reached(): Promise<boolean> {
    if (!this.#welcome && !this.over) await new Promise<void>((resolve) => { this.#reached.push(resolve); });
    if (this.#subscriptions.size === 0) this.#linger();
    return this.#welcome && !this.over;
  }

  subscribe(wish: Subscribing): Promise<SocketEnd> {
    clearTimeout(this.#lingers);
    return new Promise((resolve) => {
      this.#count += 1;
      const id = String(this.#count);
      const leave = () => {
        if (this.#welcome && !this.over) this.#out.say({ kind: "unsubscribe", id });
        end(CUT);
      };
      const end = (how: SocketEnd) => {
        wish.signal.removeEventListener("abort", leave);
        if (this.#subscriptions.delete(id) && this.#subscriptions.size === 0) this.#linger();
        resolve(how);
      };
      const subscription = { ...wish, id, end, changes: 0 };
      this.#subscriptions.set(id, subscription);
      wish.signal.addEventListener("abort", leave);
      if (wish.signal.aborted) leave();
      else if (this.#welcome) this.#subscribe(subscription);
    });
  }

  #subscribe({ id, org, from }: Subscription): void {
    this.#out.say({ kind: "subscribe", id, org, ...from });
    // A network that changed leaves a socket that looks open.
    this.#silence.asked(WELCOME_MS);
  }

  #linger(): void {
    clearTimeout(this.#lingers);
    if (!this.over) this.#lingers = setTimeout(() => this.#end(CUT), LINGER_MS);
  }

  #take(text: string): void {
    if (this.over) return;
    this.#silence.heard(PROMISE_MS);
    const members = membersOf(text);
    const [kind, id] = [textOf(members.get("kind")), textOf(members.get("id"))];
    if (kind === "welcome") return this.#greeted();
    const addressed = id === undefined ? [...this.#subscriptions.values()] : [this.#subscriptions.get(id)];
    for (const subscription of addressed) {
      if (subscription && kind !== undefined) this.#hand(subscription, kind, text, members);
    }
  }

  #hand(subscription: Subscription, kind: string, text: string, members: ReadonlyMap<string, string>): void {
    const { id, hearing, end } = subscription;
    switch (kind) {
      case "subscribed": hearing.heard(); break;
      case "change": {
        const activity = members.get("activity") ?? "";
        hearing.frame(kind, activity);
        subscription.changes += 1;
        if (subscription.changes % ACK_EVERY === 0) this.#out.ack(id, Number(membersOf(activity).get("activityId")));
        break;
      }
      case "offset": case "confirm": case "reset": case "notice": hearing.frame(kind, text); break;
      // One that is about a subscription; what follows from others, the socket ends with.
      case "error": if (members.has("id")) end("notHere"); break;
    }
  }

  #greeted(): void {
    if (this.#welcome) return;
    this.#welcome = true;
    for (const subscription of this.#subscriptions.values()) this.#subscribe(subscription);
    for (const resolve of this.#reached.splice(0)) resolve();
  }

  #renewLater(inMs: number): void {
    if (inMs === Number.POSITIVE_INFINITY) return;
    this.#renewal = setTimeout(() => void this.#renew(), Math.min(inMs, TIMER_MAX_MS));
  }

  /** Shows a new token before the old one ends; without one, the server says when it is over. */
  async #renew(): Promise<void> {
    const token = await this.#token.current().catch(() => undefined);
    if (this.over) return;
    if (token !== undefined && this.#welcome) this.#out.say({ kind: "auth", token });
    this.#renewLater(Math.max(RENEW_AGAIN_MS, this.#token.dueInMs));
  }

  #end(how: SocketEnd): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.#lingers);
    clearTimeout(this.#renewal);
    clearInterval(this.#pings);
    this.#silence.stop();
    this.#out.stop();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    for (const { end } of [...this.#subscriptions.values()]) end(how);
    for (const resolve of this.#reached.splice(0)) resolve();
  }
}

const REFUSALS: Readonly<Record<number, { status: number; code: string }>> = {
  4401: { status: 401, code: "UNAUTHENTICATED" }, 4403: { status: 403, code: "NOT_A_MEMBER" }, 4429: { status: 429, code: "RATE_LIMITED" },
};

/** What a close code means in the words of HTTP; the others end a stream without a word. */
function endOf(code: number): End {
  return { ...CUT, ...REFUSALS[code] };
}

function textOf(json: string | undefined): string | undefined {
  return json?.startsWith("\"") ? json.slice(1, -1) : undefined;
}
