// The developers' panel as it looks where an application has none of its own.
// Law: nothing in it moves by itself once it is paused, and nothing in it is read out by itself.

import { type ReactNode, useId } from "react";

import { UiProvider, type UiSettings, useUi } from "./settings.js";
import { Announcement, Frame } from "./surface.js";
import type { DevToolsState } from "./use-dev-tools.js";

/** What the panel is given: what `useDevTools` gives, and how it speaks. */
export interface DevToolsProps extends UiSettings {
  readonly state: DevToolsState;
}

/** How it stands, what waits, what is told: for developers. */
export function DevTools({ state, ...settings }: DevToolsProps): ReactNode {
  return <UiProvider {...settings}><Frame name="tools"><Shown state={state} /></Frame></UiProvider>;
}

function Shown({ state }: { readonly state: DevToolsState }): ReactNode {
  const { say } = useUi();
  const headingId = useId();
  return (
    <section aria-labelledby={headingId}>
      <div className="antiphon-head">
        <h2 id={headingId}>{say("tools.title")}</h2>
        <div className="antiphon-buttons">
          <button type="button" onClick={state.copy}>{say("tools.copy")}</button>
        </div>
      </div>
      <Announcement>{state.copied === undefined ? "" : say(state.copied ? "tools.copied" : "tools.notCopied")}</Announcement>
      <StatusTable state={state} />
      <EntryTable title={say("tools.outbox")} entries={state.entries} />
      <EntryTable title={say("tools.conflicts")} entries={state.conflicted} />
      <Events state={state} />
    </section>
  );
}

function StatusTable({ state }: { readonly state: DevToolsState }): ReactNode {
  const { say } = useUi();
  const { status, position } = state;
  const rows: readonly (readonly [string, string])[] = [
    [say("tools.connection"), status.connection + (status.refusedStatus === null ? "" : ` ${status.refusedStatus}`)],
    [say("tools.role"), say(status.leading ? "tools.leads" : "tools.follows")],
    [say("tools.offset"), String(position?.offset ?? "–")],
    [say("tools.epoch"), String(position?.epoch ?? "–")],
    [say("tools.asOf"), status.asOf ?? "–"],
    [say("tools.rows"), String(status.rows)],
    [say("tools.pending"), String(status.pending)],
    [say("tools.conflicted"), String(status.conflicted)],
    [say("tools.refusedCount"), String(status.failed)],
    [say("tools.storage"), status.storage],
    [say("tools.notices"), status.notices.map(({ code }) => code).join(", ") || "–"],
  ];
  return (
    <Scrolled title={say("tools.status")}>
      <table>
        <thead><tr><th scope="col">{say("tools.name")}</th><th scope="col">{say("tools.value")}</th></tr></thead>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}><th scope="row">{name}</th><td className="antiphon-data">{value}</td></tr>
          ))}
        </tbody>
      </table>
    </Scrolled>
  );
}

function EntryTable({ title, entries }: { readonly title: string; readonly entries: DevToolsState["entries"] }): ReactNode {
  const { say } = useUi();
  if (entries.length === 0) return <Scrolled title={title}><p>{say("tools.none")}</p></Scrolled>;
  return (
    <Scrolled title={title}>
      <table>
        <thead>
          <tr>
            <th scope="col">{say("tools.name")}</th><th scope="col">{say("tools.state")}</th><th scope="col">{say("tools.change")}</th>
          </tr>
        </thead>
        <tbody>
          {entries.map(({ key, state, ...rest }) => (
            <tr key={key}>
              <th scope="row"><code className="antiphon-data">{key}</code></th>
              <td className="antiphon-data">{state}</td>
              <td><code className="antiphon-data" dir="ltr">{JSON.stringify(rest)}</code></td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scrolled>
  );
}

function Events({ state }: { readonly state: DevToolsState }): ReactNode {
  const { say, locale, timeZone } = useUi();
  const clock = new Intl.DateTimeFormat(locale, {
    hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, ...(timeZone ? { timeZone } : {}),
  });
  return (
    <Scrolled title={say("tools.events")}>
      <div className="antiphon-buttons">
        <button type="button" onClick={() => state.pause(!state.paused)}>{say(state.paused ? "tools.resume" : "tools.pause")}</button>
        <button type="button" onClick={state.clear}>{say("tools.clear")}</button>
      </div>
      {state.paused ? <p>{say("tools.paused", { n: state.since })}</p> : null}
      {state.dropped > 0 ? <p>{say("tools.dropped", { n: state.dropped })}</p> : null}
      {state.events.length === 0 ? <p>{say("tools.none")}</p> : (
        <table>
          <thead>
            <tr><th scope="col">{say("tools.time")}</th><th scope="col">{say("tools.event")}</th><th scope="col">{say("tools.detail")}</th></tr>
          </thead>
          <tbody>
            {state.events.map(({ number, event: { atMs, told } }) => (
              <tr key={number}>
                <td className="antiphon-data">{clock.format(atMs)}</td>
                <th scope="row" className="antiphon-data">{told.told}</th>
                <td><code className="antiphon-data" dir="ltr">{"about" in told ? JSON.stringify(told.about) : ""}</code></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Scrolled>
  );
}

/** A part whose table scrolls within it, by keyboard too. */
function Scrolled({ title, children }: { readonly title: string; readonly children: ReactNode }): ReactNode {
  const headingId = useId();
  return (
    <div className="antiphon-part">
      <h3 id={headingId}>{title}</h3>
      <div className="antiphon-scroll" role="region" aria-labelledby={headingId} tabIndex={0}>{children}</div>
    </div>
  );
}
