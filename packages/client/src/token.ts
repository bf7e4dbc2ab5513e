// The token: asked for once at a time, kept in memory, asked for anew before it ends and when the server refuses it.
// Law: a token that names another user than the client was made for is never used, so nothing is sent under another
// name (CORE-18). It refuses to store a token.

import { type Clock, deviceClock } from "./clock.js";
import { AntiphonError } from "./fault.js";

/** A token is replaced so long before it ends. */
const EARLY_MS = 30_000;

/** Gives a token of the user: asked again whenever a newer one is needed. */
export type TokenProvider = () => string | Promise<string>;

/** Keeps the newest token. */
export class Token {
  readonly #provider: TokenProvider;
  readonly #user: string;
  readonly #clock: Clock;
  #token: string | undefined;
  #endsMs = Number.POSITIVE_INFINITY;
  #asking: Promise<string> | undefined;

  constructor(provider: TokenProvider, user: string, clock: Clock = deviceClock) {
    this.#provider = provider;
    this.#user = user;
    this.#clock = clock;
  }

  /** In how many milliseconds another is due; infinity where the token does not say when it ends. */
  get dueInMs(): number {
    return Math.max(0, this.#endsMs - EARLY_MS - this.#clock.wallMs());
  }

  /** Gives a token that is good as far as is known. */
  current(): Promise<string> {
    if (this.#token !== undefined && this.#clock.wallMs() < this.#endsMs - EARLY_MS) return Promise.resolve(this.#token);
    this.#asking ??= this.#ask().finally(() => { this.#asking = undefined; });
    return this.#asking;
  }

  /** The server refused `token`; what has come since stays. */
  refuse(token?: string): void {
    if (token === undefined || token === this.#token) this.#token = undefined;
  }

  async #ask(): Promise<string> {
    const token = await this.#provider();
    const claims = claimsOf(token);
    if (typeof claims?.sub === "string" && claims.sub !== this.#user) {
      throw new AntiphonError("TOKEN_OF_ANOTHER_USER", `the token is ${claims.sub}'s, and these data are ${this.#user}'s`);
    }
    this.#endsMs = typeof claims?.exp === "number" ? claims.exp * 1000 : Number.POSITIVE_INFINITY;
    // A device whose clock is ahead would ask for ever: such a token is used until the server refuses it.
    if (this.#endsMs - EARLY_MS <= this.#clock.wallMs()) this.#endsMs = Number.POSITIVE_INFINITY;
    this.#token = token;
    return token;
  }
}

/** What a token says of itself, where it is a JWT. */
function claimsOf(token: string): { sub?: unknown; exp?: unknown } | undefined {
  const part = token.split(".");
  if (part.length !== 3) return undefined;
  try {
    const bytes = Uint8Array.from(atob((part[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === "object" && claims !== null ? claims : undefined;
  } catch {
    return undefined;
  }
}
