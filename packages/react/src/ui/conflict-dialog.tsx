// The dialog about conflicts as it looks where an application has none of its own.
// Laws: focus goes from mine to theirs to both put together; closing it loses nothing; what differs is told in words, not
// by colour alone; while the other side changes, everything stays in its place, and it is said who changed it again.

import { type ReactNode, useId, useRef } from "react";

import type { ConflictCase } from "./conflict-cases.js";
import { ConflictMerge } from "./conflict-merge.js";
import { Base, Mine, Theirs } from "./conflict-sides.js";
import type { Choice } from "./deciding.js";
import { type Ui, UiProvider, type UiSettings, useUi } from "./settings.js";
import { Announcement, Dialog, useFocusWhen } from "./surface.js";
import { clockText } from "./times.js";
import type { ConflictDialogState } from "./use-conflict-dialog.js";

/** What the dialog is given: what `useConflictDialog` gives, and how it speaks. */
export interface ConflictDialogProps extends UiSettings {
  readonly state: ConflictDialogState;
}

/** The dialog about conflicts. */
export function ConflictDialog({ state, ...settings }: ConflictDialogProps): ReactNode {
  return <UiProvider {...settings}><Shown state={state} /></UiProvider>;
}

function Shown({ state }: { readonly state: ConflictDialogState }): ReactNode {
  const ui = useUi();
  const headingId = useId();
  const heading = useRef<HTMLHeadingElement>(null);
  const { current, held, total } = state;
  useFocusWhen(heading, current?.key ?? "");
  const done = total > 0 && !current;
  return (
    <Dialog name="conflict" open={state.open} onClose={state.close} headingId={headingId}>
      <div className="antiphon-head">
        <h2 id={headingId} ref={heading} tabIndex={-1}>{current ? caseTitle(ui, current) : ui.say("conflict.title")}</h2>
        {current && total > 1
          ? <p className="antiphon-count">{ui.say("conflict.count", { n: state.position, total })}</p>
          : null}
      </div>
      <Announcement>{noticeText(ui, state)}</Announcement>
      {current ? <Case key={current.key} about={current} state={state} /> : null}
      {done ? <p>{ui.say("conflict.allDecided", { n: held })}</p> : null}
      {total === 0 ? <p>{ui.say("conflict.none")}</p> : null}
      <Foot state={state} done={done} />
    </Dialog>
  );
}

function Case({ about, state }: { readonly about: ConflictCase; readonly state: ConflictDialogState }): ReactNode {
  const ui = useUi();
  const name = ui.person(about.theirs.actor);
  return (
    <>
      <p className="antiphon-explain">{explain(ui, about, name)}</p>
      <div className="antiphon-sides">
        <Mine about={about} state={state} />
        <Theirs about={about} state={state} />
      </div>
      {about.kind === "gone" ? null : <Base about={about} />}
      {about.kind === "fields" ? <ConflictMerge about={about} state={state} /> : null}
    </>
  );
}

function explain(ui: Ui, about: ConflictCase, name: string): string {
  const entity = ui.entity(about);
  if (about.kind === "gone") return ui.say("conflict.explainGone", { name, entity });
  if (about.kind === "deletion") return ui.say("conflict.explainDelete", { name, entity });
  return about.fields.length > 1 ? ui.say("conflict.explainFields") : ui.say("conflict.explainField", { name });
}

/** Says what a case is about. */
export function caseTitle(ui: Ui, about: ConflictCase): string {
  const entity = ui.entity(about);
  const [field, ...more] = about.fields;
  if (about.kind !== "fields" || !field) return entity;
  if (more.length > 0) return ui.say("conflict.fields", { n: about.fields.length, entity });
  return ui.say("conflict.field", { field: ui.label({ entityType: about.entityType, field: field.field }), entity });
}

function Foot({ state, done }: { readonly state: ConflictDialogState; readonly done: boolean }): ReactNode {
  const { say } = useUi();
  const several = state.total - state.held > 1;
  return (
    <div className="antiphon-foot">
      {state.held > 0 ? <button type="button" onClick={state.undo}>{say("conflict.undo")}</button> : null}
      {several ? <button type="button" onClick={state.previous}>{say("conflict.previous")}</button> : null}
      {several ? <button type="button" onClick={state.next}>{say("conflict.next")}</button> : null}
      <button type="button" className={done ? "antiphon-primary" : "antiphon-quiet"} onClick={state.close}>
        {say(done ? "conflict.finish" : state.total === 0 ? "close" : "conflict.later")}
      </button>
    </div>
  );
}

const DECIDED = {
  mine: "conflict.decidedMine", theirs: "conflict.decidedTheirs", merge: "conflict.decidedMerge", restore: "conflict.decidedRestore",
  letGo: "conflict.decidedLetGo", delete: "conflict.decidedDelete", keepRow: "conflict.decidedTheirs",
} as const satisfies Record<Choice, string>;

function noticeText(ui: Ui, { notice }: ConflictDialogState): string {
  if (!notice) return "";
  if (!("about" in notice)) return ui.say(`conflict.${notice.kind}`);
  const name = ui.person(notice.about.theirs.actor);
  if (notice.kind === "decided") return ui.say(DECIDED[notice.choice ?? "mine"], { name });
  const time = clockText(ui, notice.about.theirs.at);
  return time === undefined
    ? ui.say("conflict.changedAgainNoTime", { name })
    : ui.say("conflict.changedAgain", { name, time });
}
