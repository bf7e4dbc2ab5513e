// The screen of waiting changes as it looks where an application has none of its own.
// Laws: the order is the order of sending; each button says what it is about; focus that stood on a change that is gone
// goes to its neighbour.

import { type ReactNode, type RefObject, useEffect, useId, useRef } from "react";

import { OutboxItemView } from "./outbox-item.js";
import { changeTitle } from "./outbox-words.js";
import { type Ui, UiProvider, type UiSettings, useUi } from "./settings.js";
import { Announcement, Dialog, Frame } from "./surface.js";
import type { OutboxScreenState } from "./use-outbox-screen.js";
import { ValueEditor } from "./values.js";

/** What the screen is given: what `useOutboxScreen` gives, and how it speaks. */
export interface OutboxScreenProps extends UiSettings {
  readonly state: OutboxScreenState;
  /** Opens the dialog about conflicts at an edit; without it there is no button for that. */
  readonly onChoose?: (key: string) => void;
}

/** The screen of waiting changes. */
export function OutboxScreen({ state, onChoose, ...settings }: OutboxScreenProps): ReactNode {
  return <UiProvider {...settings}><Shown state={state} onChoose={onChoose} /></UiProvider>;
}

function Shown({ state, onChoose }: { readonly state: OutboxScreenState; readonly onChoose: ((key: string) => void) | undefined }): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const headingId = useId();
  const list = useRef<HTMLElement>(null);
  useNeighbour(list);
  return (
    <Frame name="outbox">
      <section ref={list} aria-labelledby={headingId}>
        <div className="antiphon-head">
          <h2 id={headingId} tabIndex={-1} data-neighbour="last">{say("outbox.title")}</h2>
          {state.count > 0 ? <p className="antiphon-count">{say("outbox.count", { n: state.count })}</p> : null}
        </div>
        <Announcement>{noticeText(ui, state)}</Announcement>
        {state.count === 0 ? <p>{say("outbox.none")}</p> : null}
        <div className="antiphon-buttons">
          {state.count > 0
            ? <button type="button" onClick={state.exportFile}>{say("outbox.export")}</button>
            : null}
          <ImportButton state={state} />
        </div>
        {state.items.length > 0 ? (
          <ol className="antiphon-items" aria-label={say("outbox.list")}>
            {state.items.map((item) => (
              <OutboxItemView key={item.key} item={item} state={state} onChoose={onChoose} depth={0} />
            ))}
          </ol>
        ) : null}
      </section>
      <Asking state={state} />
      <Importing state={state} />
      <Editing state={state} />
    </Frame>
  );
}

function noticeText(ui: Ui, { notice }: OutboxScreenState): string {
  if (!notice) return "";
  if ("code" in notice) return ui.say(`outbox.${notice.kind}`, { problem: ui.coded("reason", notice.code) });
  return ui.say(`outbox.${notice.kind}`, "n" in notice ? { n: notice.n } : {});
}

function Asking({ state }: { readonly state: OutboxScreenState }): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const headingId = useId();
  const asking = state.asking ?? [];
  const n = asking.reduce((sum, { entries }) => sum + entries.length, 0);
  return (
    <Dialog name="ask" open={state.asking !== undefined} onClose={state.cancel} headingId={headingId}>
      <h2 id={headingId} tabIndex={-1}>{say("outbox.askDiscard")}</h2>
      <p>{say("outbox.askDiscardExplain", { n })}</p>
      <ul>{asking.map((item) => <li key={item.key}>{changeTitle(ui, item)}</li>)}</ul>
      <div className="antiphon-foot">
        <button type="button" onClick={state.cancel}>{say("cancel")}</button>
        <button type="button" className="antiphon-danger" onClick={state.discard}>{say("outbox.discard")}</button>
      </div>
    </Dialog>
  );
}

/** A button like the others: what a browser shows for choosing a file is neither in the person's words nor reachable alike. */
function ImportButton({ state }: { readonly state: OutboxScreenState }): ReactNode {
  const { say } = useUi();
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" onClick={() => input.current?.click()}>{say("outbox.import")}</button>
      <input
        ref={input} type="file" accept="application/json,.json" hidden aria-label={say("outbox.import")}
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) state.askImport(file);
          // The same file may be chosen again.
          event.target.value = "";
        }}
      />
    </>
  );
}

function Importing({ state }: { readonly state: OutboxScreenState }): ReactNode {
  const { say } = useUi();
  const headingId = useId();
  const { importing } = state;
  return (
    <Dialog name="import" open={importing !== undefined} onClose={state.cancel} headingId={headingId}>
      <h2 id={headingId} tabIndex={-1}>{say("outbox.askImport")}</h2>
      <p>{say("outbox.askImportExplain", { n: importing?.n ?? 0, file: importing?.name ?? "" })}</p>
      <div className="antiphon-foot">
        <button type="button" onClick={state.cancel}>{say("cancel")}</button>
        <button type="button" className="antiphon-primary" onClick={state.importFile}>{say("outbox.importNow")}</button>
      </div>
    </Dialog>
  );
}

function Editing({ state }: { readonly state: OutboxScreenState }): ReactNode {
  const { editing } = state;
  const ui = useUi();
  const headingId = useId();
  const fieldId = useId();
  const item = editing?.item;
  return (
    <Dialog name="edit" open={editing !== undefined} onClose={state.cancel} headingId={headingId}>
      <h2 id={headingId} tabIndex={-1}>{item ? changeTitle(ui, item) : null}</h2>
      <form onSubmit={(event) => { event.preventDefault(); state.save(); }}>
        {item?.refused ? <p className="antiphon-problem" id={`${fieldId}-why`}>{ui.coded("reason", item.refused.code)}</p> : null}
        {Object.entries(editing?.values ?? {}).map(([field, value]) => {
          const about = { entityType: item?.entityType ?? "", field };
          return (
            <div className="antiphon-field" key={field}>
              <label htmlFor={`${fieldId}-${field}`}>{ui.label(about)}</label>
              <ValueEditor
                {...about} id={`${fieldId}-${field}`} describedBy={item?.refused ? `${fieldId}-why` : undefined} value={value}
                onChange={(next) => state.type(field, next)}
              />
            </div>
          );
        })}
        <div className="antiphon-foot">
          <button type="button" onClick={state.cancel}>{ui.say("cancel")}</button>
          <button type="submit" className="antiphon-primary">{ui.say("outbox.save")}</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Gives the focus of a change that is gone to the one that stands there now, or to the heading. */
function useNeighbour(list: RefObject<HTMLElement | null>): void {
  const place = useRef(-1);
  useEffect(() => {
    const element = list.current;
    const note = (event: FocusEvent) => {
      const item = (event.target as Element).closest("[data-item]");
      place.current = item && element ? [...element.querySelectorAll("[data-item]")].indexOf(item) : -1;
    };
    element?.addEventListener("focusin", note);
    return () => element?.removeEventListener("focusin", note);
  }, [list]);
  useEffect(() => {
    const element = list.current;
    if (!element || place.current < 0 || document.activeElement !== document.body) return;
    const items = element.querySelectorAll<HTMLElement>("[data-item] [data-neighbour]");
    const next = items[Math.min(place.current, items.length - 1)] ?? element.querySelector<HTMLElement>("[data-neighbour=last]");
    next?.focus();
  });
}
