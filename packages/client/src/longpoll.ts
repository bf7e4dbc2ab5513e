// The stream as one answer after the other, where a proxy holds streams back (protocol 4, SY-07).
// Laws: each request begins where the answer before it ended, so nothing is passed over; a transaction that an answer cuts
// is vouched for once its rest has come. It refuses to ask faster than once a second where nothing comes.

import { CUT, type End, type Hearing, refusal } from "./eventstream.js";
import { type From, type Http, readAnswer } from "./http.js";
import { membersOf, partsOf } from "./raw.js";

/** The first answer comes soon, so that it is known whether any does. */
const FIRST_S = 1;
/** Sooner than the machine gives a silent stream up, and than proxies give up a request. */
const WAIT_S = 15;
const LIMIT = 1_000;
/** Between two answers that say nothing. */
const PAUSE_MS = 1_000;

/** What a long-poll needs to know. */
export interface Polling {
  readonly http: Http;
  readonly token: () => Promise<string>;
  readonly hearing: Hearing;
  readonly signal: AbortSignal;
  /** Tells whether something better may be tried again. */
  readonly mayEnd: () => boolean;
}

interface Page {
  readonly activities: readonly { readonly commit?: { readonly last?: boolean } }[];
  readonly offset: number;
  readonly upToDate: boolean;
  readonly confirmed?: readonly string[];
}

/** Polls until it is refused or cut, or until something better may be tried; then says from where on. */
export async function poll(from: From, polling: Polling): Promise<End | From> {
  const { http, token, hearing, signal, mayEnd } = polling;
  let [at, waitS]: [From, number] = [from, FIRST_S];
  let confirmed: readonly string[] = [];
  for (;;) {
    const askedMs = performance.now();
    const answer = await readAnswer(await http.poll(at, { waitS, limit: LIMIT }, await token(), signal));
    signal.throwIfAborted();
    if (answer.status === 410) {
      hearing.frame("reset", answer.body);
      return CUT;
    }
    if (answer.status !== 200) return refusal(answer);
    const page = JSON.parse(answer.body) as Page;
    hearing.heard();
    for (const activity of partsOf(membersOf(answer.body).get("activities") ?? "") ?? []) hearing.frame("change", activity);
    const cut = !page.upToDate && page.activities.at(-1)?.commit?.last === false;
    confirmed = [...confirmed, ...(page.confirmed ?? [])];
    at = { ...at, offset: page.offset };
    if (!cut) {
      if (confirmed.length > 0) hearing.frame("confirm", JSON.stringify({ transactionIds: confirmed, offset: page.offset }));
      confirmed = [];
      hearing.frame("offset", JSON.stringify({ ...(JSON.parse(answer.body) as object), activities: undefined, asOf: null }));
      if (mayEnd()) return at;
    }
    waitS = WAIT_S;
    const early = askedMs + PAUSE_MS - performance.now();
    if (page.activities.length === 0 && early > 0) await new Promise((resolve) => { setTimeout(resolve, early); });
    signal.throwIfAborted();
  }
}
