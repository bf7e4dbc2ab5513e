// Desk as a whole: signing in, then the bar above and one screen.

import { AntiphonProvider, useOrganization, useUndo } from "@antiphon/react";
import { SignOutDialog, useSignOut } from "@antiphon/react/ui";
import { Component, type ReactNode, useEffect, useRef, useState } from "react";

import { addressOf, go, type Place, usePlace } from "./address.js";
import { useInstall } from "./install.js";
import { Menu } from "./menu.js";
import { PagesScreen } from "./pages/pages-screen.js";
import { SearchScreen } from "./search-screen.js";
import { clientOf, onSignedElsewhere, type Person, remember, whoIsSignedIn } from "./session.js";
import { Opening, SignIn, SignInAgain } from "./sign-in.js";
import { Standing, Synchronising, WaitingScreen } from "./sync.js";
import { TasksScreen } from "./tasks/tasks-screen.js";
import { useTell } from "./telling.js";
import { LANGUAGES, type Speech, useSpeech } from "./texts/speaking.js";
import { TrashScreen } from "./trash-screen.js";

/** The application. */
export function Desk(): ReactNode {
  const { say } = useSpeech();
  const [person, set] = useState(whoIsSignedIn);
  useEffect(() => onSignedElsewhere(() => set(whoIsSignedIn())), []);
  if (!person) return <SignIn onChoose={(chosen) => { remember(chosen); set(chosen); }} />;
  const leave = () => { remember(null); set(undefined); };
  return (
    <Broken say={say}>
      <AntiphonProvider client={clientOf(person)} org={person.org}>
        <Synchronising user={person.id}><Shell person={person} onLeave={leave} /></Synchronising>
      </AntiphonProvider>
    </Broken>
  );
}

function Shell({ person, onLeave }: { readonly person: Person; readonly onLeave: () => void }): ReactNode {
  const { say } = useSpeech();
  const place = usePlace();
  useTitle(place);
  return (
    <>
      <a className="skip" href="#content" onClick={(event) => { event.preventDefault(); document.querySelector<HTMLElement>("#content")?.focus(); }}>{say("skip")}</a>
      <header className="bar">
        <a className="brand" href="#/pages">{say("desk")}</a>
        <nav aria-label={say("nav.label")}>
          <Go to={{ screen: "pages", id: null }} here={place} />
          <Go to={{ screen: "tasks", id: null }} here={place} />
          <Go to={{ screen: "search", words: "" }} here={place} />
          <Go to={{ screen: "trash" }} here={place} />
        </nav>
        <Account person={person} onLeave={onLeave} />
      </header>
      <Standing><SignInAgain person={person} /></Standing>
      <Screen place={place} org={person.org} />
    </>
  );
}

function Screen({ place, org }: { readonly place: Place; readonly org: string }): ReactNode {
  const open = useOrganization() !== null;
  if (!open) return <Opening />;
  switch (place.screen) {
    case "pages": return <PagesScreen id={place.id} />;
    case "tasks": return <TasksScreen id={place.id} org={org} />;
    case "search": return <SearchScreen words={place.words} />;
    case "trash": return <TrashScreen />;
    case "waiting": return <WaitingScreen />;
  }
}

function Go({ to, here }: { readonly to: Place; readonly here: Place }): ReactNode {
  const { say } = useSpeech();
  return <a href={addressOf(to)} aria-current={to.screen === here.screen ? "page" : undefined}>{say(nameOf(to.screen))}</a>;
}

function nameOf(screen: Place["screen"]): Parameters<Speech["say"]>[0] {
  return screen === "waiting" ? "outbox.title" : `nav.${screen}`;
}

function Account({ person, onLeave }: { readonly person: Person; readonly onLeave: () => void }): ReactNode {
  const { say, choose, locale } = useSpeech();
  const tell = useTell();
  const { undo, redo } = useUndo();
  const install = useInstall();
  const leaving = useSignOut({ onSignedOut: onLeave });
  const items = () => [
    { label: say("conflict.undo"), act: () => tell(say(undo() ? "undo.done" : "undo.nothing")) },
    { label: say("nav.redo"), act: () => tell(say(redo() ? "redo.done" : "redo.nothing")) },
    ...LANGUAGES.filter((one) => one.locale !== locale).map((one) => ({ label: one.name, act: () => choose(one.locale) })),
    ...(install ? [{ label: say("nav.install"), act: install }] : []),
    { label: say("outbox.title"), act: () => go({ screen: "waiting" }) },
    { label: say("signOut.title"), act: leaving.show },
  ];
  return (
    <>
      <Menu label={say("nav.account", { name: person.name })} items={items}><span className="face" aria-hidden="true">{person.name.charAt(0)}</span></Menu>
      <SignOutDialog state={leaving} />
    </>
  );
}

/** The tab is called after the screen. A screen that is gone to by a link has the focus, as a page that is loaded would. */
function useTitle(place: Place): void {
  const { say } = useSpeech();
  const before = useRef(place.screen);
  useEffect(() => {
    document.title = `${say(nameOf(place.screen))} · ${say("desk")}`;
    if (before.current !== place.screen && place.screen !== "search") document.querySelector<HTMLElement>("#content")?.focus({ preventScroll: true });
    before.current = place.screen;
  }, [place.screen, say]);
}

interface BrokenProps { readonly say: ReturnType<typeof useSpeech>["say"]; readonly children: ReactNode }

/** What is shown where something broke that is not expected to. */
class Broken extends Component<BrokenProps, { readonly broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError(): { readonly broken: boolean } {
    return { broken: true };
  }

  override render(): ReactNode {
    const { say, children } = this.props;
    if (!this.state.broken) return children;
    return <main className="narrow"><h1>{say("desk")}</h1><p role="alert">{say("broken")}</p><button type="button" className="main" onClick={() => location.reload()}>{say("reload")}</button></main>;
  }
}
