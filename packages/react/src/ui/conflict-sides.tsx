// Both sides of a conflict, and what was there before.

import { type ReactNode, useId } from "react";

import type { CaseField, ConflictCase } from "./conflict-cases.js";
import { useUi } from "./settings.js";
import { clockText, Time } from "./times.js";
import type { ConflictDialogState } from "./use-conflict-dialog.js";
import { Difference, textOf, Value } from "./values.js";

interface SideProps {
  readonly about: ConflictCase;
  readonly state: ConflictDialogState;
}

/** My side, with what can be done with it. */
export function Mine({ about, state }: SideProps): ReactNode {
  const { say, ...ui } = useUi();
  const headingId = useId();
  const time = clockText({ say, ...ui }, about.mineAtMs) ?? "";
  const text = about.fields.map(({ mine }) => textOf(mine)).join("\n\n");
  return (
    <section className="antiphon-side antiphon-mine" aria-labelledby={headingId}>
      <h3 id={headingId}>{say(about.kind === "deletion" ? "conflict.mineDeleted" : "conflict.mine", { time })}</h3>
      <Time at={about.mineAtMs} />
      {about.kind === "deletion" ? null : <SideFields about={about} side="mine" />}
      <div className="antiphon-buttons">
        {about.kind === "fields" ? <Button state={state} choice="mine" label={say("conflict.keepMine")} /> : null}
        {about.kind === "gone" ? <Button state={state} choice="restore" label={say("conflict.restore")} /> : null}
        {about.kind === "deletion" ? <Button state={state} choice="delete" label={say("conflict.deleteAnyway")} /> : null}
        {about.kind === "gone" && text !== ""
          ? <button type="button" onClick={() => state.copy(text)}>{say("conflict.copy")}</button>
          : null}
      </div>
    </section>
  );
}

/** The other side, by name and time, with what can be done with it. */
export function Theirs({ about, state }: SideProps): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const headingId = useId();
  const name = ui.person(about.theirs.actor);
  const time = clockText(ui, about.theirs.at);
  const key = about.kind === "gone" ? "conflict.theirsGone" as const : "conflict.theirs" as const;
  return (
    <section className="antiphon-side antiphon-theirs" aria-labelledby={headingId}>
      <h3 id={headingId}>{time === undefined ? say(`${key}NoTime`, { name }) : say(key, { name, time })}</h3>
      <Time at={about.theirs.at} />
      {about.kind === "gone" ? null : <SideFields about={about} side="theirs" />}
      {about.known ? null : <p>{say("conflict.theirsUnknown")}</p>}
      {about.kind === "deletion" && about.known && about.fields.length === 0 ? <p>{say("conflict.theirsSame")}</p> : null}
      <div className="antiphon-buttons">
        {about.kind === "fields" ? <Button state={state} choice="theirs" label={say("conflict.keepTheirs", { name })} /> : null}
        {about.kind === "gone" ? <Button state={state} choice="letGo" label={say("conflict.letGo")} /> : null}
        {about.kind === "deletion" ? <Button state={state} choice="keepRow" label={say("conflict.keepRow", { name })} /> : null}
      </div>
    </section>
  );
}

/** What was there before, on demand. */
export function Base({ about }: { readonly about: ConflictCase }): ReactNode {
  const { say } = useUi();
  if (about.fields.length === 0) return null;
  return (
    <details className="antiphon-base">
      <summary>{say("conflict.base")}</summary>
      {about.fields.map((field) => (
        <Field key={`${field.key} ${field.field}`} about={about} field={field}>
          {field.base === undefined
            ? <p>{say("conflict.baseUnknown")}</p>
            : <Value entityType={about.entityType} field={field.field} value={field.base} />}
        </Field>
      ))}
    </details>
  );
}

function SideFields({ about, side }: { readonly about: ConflictCase; readonly side: "mine" | "theirs" }): ReactNode {
  return about.fields.map((field) => (
    <Field key={`${field.key} ${field.field}`} about={about} field={field}>
      {about.kind === "gone" && field.base === undefined
        ? <Value entityType={about.entityType} field={field.field} value={field[side]} />
        : <Difference entityType={about.entityType} field={field.field} before={field.base} after={field[side]} />}
    </Field>
  ));
}

/** A field with its name; a single one stands in the dialog's heading already. */
function Field({ about, field, children }: { readonly about: ConflictCase; readonly field: CaseField; readonly children: ReactNode }): ReactNode {
  const ui = useUi();
  const isNamed = about.kind === "fields" && about.fields.length === 1;
  return (
    <div className="antiphon-field">
      {isNamed ? null : <h4>{ui.label({ entityType: about.entityType, field: field.field })}</h4>}
      {children}
    </div>
  );
}

type ButtonProps = {
  readonly state: ConflictDialogState;
  readonly choice: Parameters<ConflictDialogState["choose"]>[0];
  readonly label: string;
};

function Button({ state, choice, label }: ButtonProps): ReactNode {
  return <button type="button" onClick={() => state.choose(choice)}>{label}</button>;
}
