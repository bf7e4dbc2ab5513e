// The dialog about signing out as it looks where an application has none of its own.

import type { PendingAtSignOut } from "@antiphon/client";
import { type ReactNode, useId } from "react";

import { UiProvider, type UiSettings, useUi } from "./settings.js";
import { Announcement, Dialog } from "./surface.js";
import type { SignOutState } from "./use-sign-out.js";

/** What the dialog is given: what `useSignOut` gives, and how it speaks. */
export interface SignOutDialogProps extends UiSettings {
  readonly state: SignOutState;
}

/** The dialog about signing out. */
export function SignOutDialog({ state, ...settings }: SignOutDialogProps): ReactNode {
  return <UiProvider {...settings}><Shown state={state} /></UiProvider>;
}

const CHOICES: readonly PendingAtSignOut[] = ["send", "export", "keep", "discard"];

function Shown({ state }: { readonly state: SignOutState }): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const headingId = useId();
  const n = state.waiting;
  return (
    <Dialog name="sign-out" open={state.open} onClose={state.close} headingId={headingId}>
      <h2 id={headingId} tabIndex={-1}>{say("signOut.title")}</h2>
      <p>{n === 0 ? say("signOut.none") : say("signOut.waiting", { n })}</p>
      {n > 0 ? <Choices state={state} /> : null}
      <Announcement>{state.working ? say("signOut.working") : problemText(ui, state)}</Announcement>
      <div className="antiphon-foot">
        <button type="button" disabled={state.working} onClick={state.close}>{say("cancel")}</button>
        <button
          type="button" disabled={state.working} className={state.confirming ? "antiphon-danger" : "antiphon-primary"}
          onClick={state.signOut}
        >
          {state.confirming ? say("signOut.discardConfirm", { n }) : say("signOut.do")}
        </button>
      </div>
    </Dialog>
  );
}

function problemText(ui: ReturnType<typeof useUi>, { problem }: SignOutState): string {
  if (problem === undefined) return "";
  if (problem === "OUTBOX_NOT_EMPTY") return ui.say("signOut.notSent");
  return ui.say("signOut.failed", { problem: ui.coded("notice", problem) });
}

function Choices({ state }: { readonly state: SignOutState }): ReactNode {
  const { say } = useUi();
  const name = useId();
  return (
    <fieldset className="antiphon-choices" disabled={state.working}>
      <legend className="antiphon-unseen">{say("signOut.choices")}</legend>
      {CHOICES.map((choice) => (
        <div className="antiphon-choice" key={choice}>
          <label className="antiphon-option">
            <input
              type="radio" name={name} checked={state.choice === choice} aria-describedby={`${name}-${choice}`}
              onChange={() => state.choose(choice)}
            />
            <span>{say(`signOut.${choice}`)}</span>
          </label>
          <p id={`${name}-${choice}`}>
            {choice === "send" && state.needing > 0 ? say("signOut.sendNotPossible", { n: state.needing }) : say(`signOut.${choice}Hint`)}
          </p>
        </div>
      ))}
    </fieldset>
  );
}
