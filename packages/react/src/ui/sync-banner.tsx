// The banner as it looks where an application has none of its own.
// Laws: one polite status, with counts and not with rows, that changes at most every other second; the time stands beside
// it, so that a minute that passes is not read out.

import type { ReactNode } from "react";

import { type Ui, UiProvider, type UiSettings, useUi } from "./settings.js";
import { Frame } from "./surface.js";
import { timeText } from "./times.js";
import { type Room, type SyncBannerState, useCalm } from "./use-sync-banner.js";

/** What the banner is given: what `useSyncBanner` gives, and how it speaks. */
export interface SyncBannerProps extends UiSettings {
  readonly state: SyncBannerState;
  /** Opens the dialog about conflicts; without it there is no button for that. */
  readonly onChoose?: () => void;
  /** Opens the screen of waiting changes; without it there is no button for that. */
  readonly onShowOutbox?: () => void;
}

/** How the whole stands, and what can be done about it. */
export function SyncBanner({ state, onChoose, onShowOutbox, ...settings }: SyncBannerProps): ReactNode {
  return (
    <UiProvider {...settings}>
      <Frame name="banner"><Shown state={state} onChoose={onChoose} onShowOutbox={onShowOutbox} /></Frame>
    </UiProvider>
  );
}

interface ShownProps {
  readonly state: SyncBannerState;
  readonly onChoose: (() => void) | undefined;
  readonly onShowOutbox: (() => void) | undefined;
}

const SIGNS = { connecting: "…", loading: "↓", offline: "⊘", refused: "✕", waiting: "●", syncing: "↑", upToDate: "✓" } as const;

function Shown({ state, onChoose, onShowOutbox }: ShownProps): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const { phase, status } = state;
  const lines = useCalm([phaseText(ui, state), ...needs(ui, state)].join("\n")).split("\n");
  const at = phase === "upToDate" ? timeText(ui, status.asOf) : undefined;
  const waiting = status.pending + status.failed + status.conflicted > 0;
  return (
    <section className="antiphon-bar" aria-label={say("banner.label")} data-phase={phase}>
      <span className="antiphon-sign" aria-hidden="true">{SIGNS[phase]}</span>
      <p className="antiphon-bar-text">
        <span role="status">{lines.map((line) => <span key={line} className="antiphon-line">{line} </span>)}</span>
        {at === undefined ? null : <> <time dateTime={status.asOf ?? undefined}>{say("banner.at", { time: at })}</time></>}
      </p>
      <div className="antiphon-buttons">
        <button type="button" onClick={state.syncNow}>{say("banner.syncNow")}</button>
        {status.conflicted > 0 && onChoose
          ? <button type="button" className="antiphon-primary" onClick={onChoose}>{say("banner.openConflicts")}</button>
          : null}
        {waiting && onShowOutbox
          ? <button type="button" onClick={onShowOutbox}>{say("banner.openOutbox")}</button>
          : null}
      </div>
      <Storage state={state} />
    </section>
  );
}

function phaseText({ say }: Ui, { phase, status }: SyncBannerState): string {
  const n = status.pending;
  switch (phase) {
    case "offline": return n > 0 ? say("banner.offlineWaiting", { n }) : say("banner.offline");
    case "loading": return say("banner.loading", { n: status.rows });
    case "waiting": case "syncing": return say(`banner.${phase}`, { n });
    default: return say(`banner.${phase}`);
  }
}

function needs({ say }: Ui, { status }: SyncBannerState): string[] {
  return [
    ...(status.conflicted > 0 ? [say("banner.conflicts", { n: status.conflicted })] : []),
    ...(status.failed > 0 ? [say("banner.failed", { n: status.failed })] : []),
  ];
}

/** Whether what is here is safe, and what a person should know. */
function Storage({ state }: { readonly state: SyncBannerState }): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const { status, room } = state;
  return (
    <div className="antiphon-health">
      {status.notices.length > 0 ? (
        <ul className="antiphon-notices">
          {status.notices.map(({ code }) => <li key={code}><span aria-hidden="true" className="antiphon-sign">!</span> {ui.coded("notice", code)}</li>)}
        </ul>
      ) : null}
      <details onToggle={(event) => { if (event.currentTarget.open) state.measure(); }}>
        <summary>{say("banner.storage")}</summary>
        <p>{say(status.storage === "device" ? "banner.storageDevice" : "banner.storageMemory")}</p>
        {status.storage === "device" && status.persisted !== null
          ? <p>{say(status.persisted ? "banner.storagePersisted" : "banner.storageNotPersisted")}</p>
          : null}
        {room ? <p>{roomText(ui, room)}</p> : null}
      </details>
    </div>
  );
}

function roomText({ say, locale }: Ui, { usedBytes, quotaBytes }: Room): string {
  const megabytes = new Intl.NumberFormat(locale, { style: "unit", unit: "megabyte", maximumSignificantDigits: 3 });
  return say("banner.storageUsed", { used: megabytes.format(usedBytes / 1e6), quota: megabytes.format(quotaBytes / 1e6) });
}
