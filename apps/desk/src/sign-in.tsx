// Who uses Desk: a person of the demonstration is chosen, or an access token says who one is.

import { useOrganization, useSyncStatus } from "@antiphon/react";
import { type FormEvent, type ReactNode, useCallback, useEffect, useState } from "react";

import type { Refused } from "./door.js";
import { askDoor, enter, knownDoor, knownPeople, type Person } from "./session.js";
import { useSpeech } from "./texts/speaking.js";

/** What is there for the moment in which what is on the device is read. */
export function Opening(): ReactNode {
  const { say } = useSpeech();
  return <main id="content" tabIndex={-1} className="narrow opening"><h1 className="unseen">{say("desk")}</h1><p className="hint">{say("opening")}</p></main>;
}

/** The screen before all others. */
export function SignIn({ onChoose }: { readonly onChoose: (person: Person) => void }): ReactNode {
  const { say } = useSpeech();
  const [known, set] = useState(knownPeople);
  const [door, open] = useState(knownDoor);
  const [failed, fail] = useState(false);
  const ask = useCallback(() => {
    fail(false);
    askDoor().then((found) => {
      open(found);
      set(knownPeople());
      const wanted = new URLSearchParams(location.search).get("as");
      const person = found === "people" && knownPeople().find(({ id }) => id === wanted);
      if (person) onChoose(person);
    }, () => fail(true));
  }, []);
  useEffect(ask, [ask]);
  // Whom the address names signs in by itself.
  if (new URLSearchParams(location.search).has("as") && door === "people" && !failed && known.length === 0) return <Opening />;
  return (
    <main className="narrow sign-in">
      <p className="mark" aria-hidden="true">{say("desk")}</p>
      {door === "token" ? <ByToken onEnter={onChoose} /> : (
        <>
          <h1>{say("signIn.title")}</h1>
          <p>{say("signIn.about")}</p>
          <ul>
            {known.map((person) => (
              <li key={person.id}>
                <button type="button" aria-label={say("signIn.of", { name: person.name, org: person.org })} onClick={() => onChoose(person)}>
                  <span className="face" aria-hidden="true">{person.name.charAt(0)}</span> {say("signIn.of", { name: person.name, org: person.org })}
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
      {failed && known.length === 0
        ? <p className="notice" role="alert">{say("signIn.unreachable")} <button type="button" onClick={ask}>{say("outbox.retry")}</button></p>
        : null}
    </main>
  );
}

function ByToken({ onEnter }: { readonly onEnter: (person: Person) => void }): ReactNode {
  const { say } = useSpeech();
  const [org, name] = useState("");
  const { problem, show } = useShown(onEnter);
  return (
    <form className="by-token" onSubmit={(event) => show(event, org.trim())}>
      <h1>{say("signIn.byToken")}</h1>
      <p>{say("signIn.tokenAbout")}</p>
      <label>{say("signIn.org")} <input value={org} onChange={(event) => name(event.target.value)} required autoComplete="organization" autoCapitalize="off" spellCheck={false} /></label>
      <TokenField />
      {problem}
      <button type="submit" className="main">{say("signIn.enter")}</button>
    </form>
  );
}

function TokenField(): ReactNode {
  const { say } = useSpeech();
  return <label>{say("signIn.token")} <input type="password" name="token" required autoComplete="current-password" /></label>;
}

function useShown(onEnter: (person: Person) => void, as?: Person): { problem: ReactNode; show: (event: FormEvent<HTMLFormElement>, org: string) => void } {
  const { say } = useSpeech();
  const [refused, refuse] = useState<Refused["refused"] | null>(null);
  const show = (event: FormEvent<HTMLFormElement>, org: string) => {
    event.preventDefault();
    refuse(null);
    const token = String(new FormData(event.currentTarget).get("token") ?? "").trim();
    void enter(org, token, as).then((shown) => {
      if ("refused" in shown) refuse(shown.refused);
      else onEnter(shown.person);
    });
  };
  return { problem: <div role="alert">{refused === null ? null : <p className="notice">{say(`signIn.refused.${refused}`)}</p>}</div>, show };
}

/** Asks for a token again where the tab has none that is good; what was typed waits meanwhile. */
export function SignInAgain({ person }: { readonly person: Person }): ReactNode {
  const { say } = useSpeech();
  const organization = useOrganization();
  const wanted = useSyncStatus(({ notices }) => notices.some(({ code }) => code === "TOKEN_UNAVAILABLE" || code === "UNAUTHENTICATED"));
  const { problem, show } = useShown(() => organization?.syncNow(), person);
  if (!wanted || knownDoor() !== "token") return null;
  return (
    <form className="by-token again" aria-label={say("signIn.byToken")} onSubmit={(event) => show(event, person.org)}>
      <TokenField />
      <button type="submit" className="main">{say("signIn.enter")}</button>
      {problem}
    </form>
  );
}
