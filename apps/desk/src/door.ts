// Coming in by an access token, where there is no demonstration that chooses.
// Laws: a token stays with the tab in which it was shown, and goes with it or with signing out; another person's token is
// never taken for the one who works here.

/** Somebody of an organisation. */
export interface Person {
  readonly id: string;
  readonly name: string;
  /** The organisation that they are of. */
  readonly org: string;
}

/** Who one is, by one's token, and who else is there. */
export interface Named {
  readonly person: Person;
  readonly users: readonly Person[];
}

/** Why a token does not let in. */
export interface Refused {
  readonly refused: "token" | "place" | "tables" | "another" | "unreachable";
}

interface Answer {
  readonly user: string;
  readonly users: readonly Person[];
  readonly types: readonly string[];
}

const TOKEN = "desk.token";
/** The types that Desk is made for. */
const TYPES = ["page", "task"];

/** Shows a token to the server; where it is good it is kept for this tab. `as` is who works here already. */
export async function show(org: string, token: string, as?: Person): Promise<Named | Refused> {
  const headers = { authorization: `Bearer ${token}` };
  let answer: Response;
  try {
    answer = await fetch(`/desk/session/${encodeURIComponent(org)}`, { headers, cache: "no-store" });
  } catch {
    return { refused: "unreachable" };
  }
  if (answer.status === 401) return { refused: "token" };
  if (answer.status === 403 || answer.status === 404) return { refused: "place" };
  if (!answer.ok) return { refused: "unreachable" };
  const { user, users, types } = await answer.json() as Answer;
  if (TYPES.some((one) => !types.includes(one))) return { refused: "tables" };
  if (as && as.id !== user) return { refused: "another" };
  const person = users.find(({ id }) => id === user) ?? { id: user, name: user, org };
  hold(JSON.stringify({ user, token }));
  return { person, users: users.includes(person) ? users : [...users, person] };
}

/** The token of a person that this tab has. */
export function heldToken(user: string): string | undefined {
  try {
    const held = JSON.parse(sessionStorage.getItem(TOKEN) ?? "null") as { user: string; token: string } | null;
    return held?.user === user ? held.token : undefined;
  } catch {
    return undefined;
  }
}

/** Forgets the token. */
export function forget(): void {
  hold(null);
}

function hold(text: string | null): void {
  try {
    if (text === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, text);
  } catch {
    // A tab that keeps nothing asks for it again.
  }
}
