// Who uses Desk in this tab, and the client of each person.
// Laws: a token is kept by this tab at most; who is signed in, and the people's names, are kept on the device, so that Desk
// opens with no network; a client is made once for each person, however often anything renders.

import { type Client, createClient } from "@antiphon/client";

import { forget, heldToken, type Named, type Person, type Refused, show } from "./door.js";
import type { Entities } from "./entities.js";
import { inFrame, pluggedFetch } from "./try/plug.js";

export type { Person };

/** How one comes in: chosen among the people of the demonstration, or by an access token. */
export type Door = "people" | "token";

interface Session {
  readonly tokens: Readonly<Record<string, string>>;
  readonly users: readonly Person[];
}

const WHO = "desk.who";
const DOOR = "desk.door";
const PEOPLE = "desk.people";
const clients = new Map<string, Client<Entities>>();
let known: readonly Person[] = kept<readonly Person[]>(PEOPLE) ?? [];

/** How one comes in, as the server says; everybody who may be chosen is known then. */
export async function askDoor(): Promise<Door> {
  const door = (await ask()) === null ? "token" : "people";
  keep(DOOR, door);
  return door;
}

/** How one came in last on this device. */
export function knownDoor(): Door {
  return kept<Door>(DOOR) ?? "people";
}

/** Comes in by a token of one's own; gives who one is, or why not. */
export async function enter(org: string, token: string, as?: Person): Promise<Named | Refused> {
  const shown = await show(org, token, as);
  if ("users" in shown) {
    known = shown.users;
    keep(PEOPLE, known);
  }
  return shown;
}

/** Everybody who is known on this device. */
export function knownPeople(): readonly Person[] {
  return known;
}

/** Who is signed in: whom the address names for this tab alone (`?as=bob`), or whom the device remembers. */
export function whoIsSignedIn(): Person | undefined {
  const id = new URLSearchParams(location.search).get("as") ?? kept<string>(WHO);
  return known.find((person) => person.id === id);
}

/** Remembers who is signed in; null is nobody. */
export function remember(person: Person | null): void {
  // What was signed out stays closed; whoever signs in begins anew.
  clients.clear();
  if (person === null) forget();
  // Whom the address names is so in this tab alone.
  if (!new URLSearchParams(location.search).has("as")) keep(WHO, person?.id ?? null);
}

/** Calls `listener` when somebody signs in or out in another tab, until the returned function is called. */
export function onSignedElsewhere(listener: () => void): () => void {
  const heard = ({ key }: StorageEvent) => { if (key === WHO) listener(); };
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}

/** The client of a person. */
export function clientOf(person: Person): Client<Entities> {
  const key = keyOf(person);
  const client = clients.get(key) ?? createClient<Entities>({
    url: location.origin, user: person.id, application: "desk", wasm: "/desk/core_bg.wasm", getToken: () => tokenOf(person),
    ...(inFrame ? { fetch: pluggedFetch } : {}),
  });
  clients.set(key, client);
  return client;
}

async function tokenOf({ id }: Person): Promise<string> {
  const token = knownDoor() === "token" ? heldToken(id) : (await ask())?.tokens[id];
  if (token === undefined) throw new Error("there is no token of this person");
  return token;
}

/** Asks the demonstration for its people and their tokens; null where this is none. */
async function ask(): Promise<Session | null> {
  const answer = await pluggedFetch("/dev/session", { cache: "no-store" });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const session = await answer.json() as Session;
  known = session.users;
  keep(PEOPLE, known);
  return session;
}

function keyOf(person: Person): string {
  return JSON.stringify([person.id, person.org]);
}

function kept<T>(name: string): T | undefined {
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null") as T ?? undefined;
  } catch {
    // A device that keeps nothing, or another hand's words: it is as if nothing was kept.
    return undefined;
  }
}

function keep(name: string, value: unknown): void {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Then it is not remembered; nothing else needs it.
  }
}
