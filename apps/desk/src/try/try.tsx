// Two people, two windows, one plug: what Antiphon is for, in a minute.
// Laws: the windows are Desk itself, with nothing pretended but the cable; everything that the guide does, a person can do
// in the windows, and the guide sees it all the same.

import { type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";

import { useSpeech } from "../texts/speaking.js";
import { type Scene, STEPS, type Who } from "./guide.js";
import { SqlBox } from "./sql-box.js";
import { Strip } from "./strip.js";
import { type Command, GUIDED_PAGE, hear, type WindowState } from "./words.js";

const WHO: readonly Who[] = ["alice", "bob"];
const NAMES = { alice: "Alice", bob: "Bob" } as const;
type Windows = Readonly<Record<Who, WindowState | undefined>>;

/** The page. */
export function Try(): ReactNode {
  const { say, locale } = useSpeech();
  const frames = useRef<Partial<Record<Who, HTMLIFrameElement | null>>>({});
  const [windows, setWindows] = useState<Windows>({ alice: undefined, bob: undefined });
  const [pulled, setPulled] = useState<Readonly<Record<Who, boolean>>>({ alice: false, bob: false });
  useEffect(() => { document.title = say("try.title"); }, [say]);
  useEffect(() => hear<WindowState>((said, from) => {
    const who = WHO.find((one) => frames.current[one]?.contentWindow === from);
    if (who && said.desk === "state") setWindows((before) => ({ ...before, [who]: said }));
  }), []);
  const tell = useCallback((who: Who, command: Command) => {
    if (command.desk === "pull") setPulled((before) => ({ ...before, [who]: command.pulled }));
    frames.current[who]?.contentWindow?.postMessage(command, location.origin);
  }, []);
  return (
    <main id="content" className="try" tabIndex={-1}>
      <div className="head"><h1>{say("try.title")}</h1><a href="/desk/">{say("try.desk")}</a></div>
      <Guide windows={windows} pulled={pulled} tell={tell} />
      <div className="windows">
        {WHO.map((who) => (
          <section key={who} aria-label={say("try.window", { name: NAMES[who] })}>
            <div className="head">
              <h2>{NAMES[who]}</h2>
              <button type="button" role="switch" aria-checked={!pulled[who]} className="plug" onClick={() => tell(who, { desk: "pull", pulled: !pulled[who] })}>
                {say("try.plug", { name: NAMES[who] })} <span aria-hidden="true">{say(pulled[who] ? "try.out" : "try.in")}</span>
              </button>
            </div>
            <iframe
              title={say("try.window", { name: NAMES[who] })} ref={(element) => { frames.current[who] = element; }}
              src={`/desk/?as=${who}&frame&lang=${locale}#/pages/${GUIDED_PAGE}`}
            />
          </section>
        ))}
      </div>
      <div className="below">
        <Strip windows={windows} pulled={pulled} />
        <SqlBox />
      </div>
    </main>
  );
}

interface GuideProps {
  readonly windows: Windows;
  readonly pulled: Readonly<Record<Who, boolean>>;
  readonly tell: (who: Who, command: Command) => void;
}

function Guide({ windows, pulled, tell }: GuideProps): ReactNode {
  const { say } = useSpeech();
  const [at, set] = useState(0);
  const ready = windows.alice?.connection === "online" && windows.bob?.connection === "online";
  const [begun, begin] = useState(false);
  const before = useRef<Scene["before"]>({ alice: null, bob: null });
  const step = STEPS[at] ?? STEPS.at(-1);
  const scene = useMemo((): Scene => ({ ...windows, pulled, before: before.current }), [windows, pulled, at, begun]);
  const titles = { alice: windows.alice?.title ?? null, bob: windows.bob?.title ?? null };
  const enter = (next: number) => {
    before.current = titles;
    set(next);
    const { begins } = STEPS[next] ?? {};
    if (begins) tell(begins.who, begins.command);
  };
  useEffect(() => {
    if (!begun && ready && titles.alice !== null && titles.bob !== null) {
      before.current = titles;
      begin(true);
    } else if (begun && step?.done(scene)) enter(at + 1);
  });
  if (!step) return null;
  return (
    <section className="guide" aria-label={say("try.guide")}>
      <p role="status">{begun ? say(step.text) : say("opening")}</p>
      <div className="buttons">
        {begun && step.deed ? <button type="button" className="main" onClick={() => tell(step.deed!.who, step.deed!.command)}>{say("try.forMe")}</button> : null}
        {begun && at > 0 ? <button type="button" className="quiet" onClick={() => { tell("bob", { desk: "pull", pulled: false }); enter(0); }}>{say("try.again")}</button> : null}
        <span className="count">{say("conflict.count", { n: Math.min(at + 1, STEPS.length), total: STEPS.length })}</span>
      </div>
    </section>
  );
}
