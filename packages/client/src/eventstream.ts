// The stream as server-sent events, read from a `fetch` (protocol 4).
// Laws: it ends where the response ends, wherever that is in a frame; a response that is silent for longer than the
// server promises has ended, or a proxy holds it back. It refuses to believe what does not call itself events.

import { EventReader } from "./events.js";
import { type Answer, problemCode, readAnswer } from "./http.js";
import { Silence } from "./silence.js";

/** The first bytes follow the request at once; a proxy that holds a stream back lets none through. */
const FIRST_MS = 10_000;
/** The server says something every 15 s. */
const PROMISE_MS = 20_000;

/** Hears a stream. */
export interface Hearing {
  /** It opened, or lives. */
  heard(): void;
  /** It says something: an event of protocol 4, its data as it is written. */
  frame(event: string, data: string): void;
}

/** How a stream ended: HTTP's status where it was refused, and how long it asks to wait. */
export interface End {
  readonly status: number | null;
  readonly retryAfterMs: number | null;
  /** The code that the server refused it by. */
  readonly code?: string | null;
}

/** It ended, and nobody said why. */
export const CUT: End = { status: null, retryAfterMs: null };

/** How a stream ended that was refused. */
export function refusal({ status, retryAfterMs, body }: Answer): End {
  return { status, retryAfterMs, code: problemCode(body) };
}

/** Reads a stream to its end; `silent` where nothing came at all, `fellSilent` where it stopped coming. */
export async function readEvents(
  open: (signal: AbortSignal) => Promise<Response>, hearing: Hearing, signal: AbortSignal,
): Promise<End | "silent" | "fellSilent"> {
  const abort = new AbortController();
  const stop = () => abort.abort();
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  let end: "silent" | "fellSilent" | undefined;
  let spoke = false;
  const silence = new Silence(FIRST_MS, () => {
    end = spoke ? "fellSilent" : "silent";
    stop();
  });
  const heard = () => {
    spoke = true;
    silence.heard(PROMISE_MS);
  };
  try {
    return await read(await open(abort.signal), hearing, heard);
  } catch {
    return end ?? CUT;
  } finally {
    silence.stop();
    signal.removeEventListener("abort", stop);
  }
}

async function read(response: Response, hearing: Hearing, heard: () => void): Promise<End> {
  if (response.status === 410) {
    // A reset before anything was streamed.
    hearing.frame("reset", (await readAnswer(response)).body);
    return CUT;
  }
  if (response.status !== 200) return refusal(await readAnswer(response));
  // A proxy's own page, with a status that says all is well.
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw new Error("no stream");
  let waitMs: number | null = null;
  const reader = response.body?.getReader();
  const [events, decoder] = [new EventReader(), new TextDecoder()];
  for (;;) {
    const part = await reader?.read();
    if (!part || part.done) return { status: null, retryAfterMs: waitMs };
    heard();
    hearing.heard();
    const words = events.push(decoder.decode(part.value, { stream: true }));
    if (!words) throw new Error("an event without an end");
    for (const word of words) {
      if (word === "alive") continue;
      if ("retryMs" in word) waitMs = word.retryMs;
      else hearing.frame(word.event, word.data);
    }
  }
}
