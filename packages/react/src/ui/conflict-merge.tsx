// Both sides put together: what meets by itself is done already, each other place is picked, and the whole can be typed.
// Law: what was typed is never replaced but by the person's own press of a button that says so.

import { type ReactNode, useId } from "react";

import type { CaseField, ConflictCase, Pick } from "./conflict-cases.js";
import { placeName, WHOLE } from "./deciding.js";
import { useUi } from "./settings.js";
import type { ConflictDialogState } from "./use-conflict-dialog.js";
import { lineOf, ValueEditor } from "./values.js";

interface MergeProps {
  readonly about: ConflictCase;
  readonly state: ConflictDialogState;
}

/** The part of the dialog in which both sides are put together. */
export function ConflictMerge({ about, state }: MergeProps): ReactNode {
  const { say } = useUi();
  const headingId = useId();
  return (
    <section className="antiphon-merge" aria-labelledby={headingId}>
      <h3 id={headingId}>{say("conflict.merge")}</h3>
      <p>{say("conflict.mergeHint")}</p>
      {about.fields.map((field) => <FieldMerge key={field.key} about={about} state={state} field={field} />)}
      <div className="antiphon-buttons">
        <button type="button" className="antiphon-primary" onClick={() => state.choose("merge")}>{say("conflict.useMerge")}</button>
      </div>
    </section>
  );
}

function FieldMerge({ about, state, field }: MergeProps & { readonly field: CaseField }): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const [editorId, hintId] = [useId(), useId()];
  const of = { entityType: about.entityType, field: field.field };
  const isTyped = state.draftOf(field)?.typed !== undefined;
  return (
    <div className="antiphon-field">
      <Places about={about} state={state} field={field} />
      <label htmlFor={editorId}>{say("conflict.mergeField", { field: ui.label(of) })}</label>
      <ValueEditor
        {...of} id={editorId} value={state.valueOf(field)} describedBy={isTyped ? hintId : undefined}
        onChange={(value) => state.type(field, value)}
      />
      {isTyped ? (
        <div className="antiphon-typed">
          <p id={hintId}>{say("conflict.typed")}</p>
          <button type="button" className="antiphon-quiet" onClick={() => state.startAgain(field)}>{say("conflict.again")}</button>
        </div>
      ) : null}
    </div>
  );
}

/** The places where both sides say something different. */
function Places({ about, state, field }: MergeProps & { readonly field: CaseField }): ReactNode {
  const { say } = useUi();
  const { pieces } = field;
  if (!pieces) {
    return <Place about={about} state={state} field={field} place={WHOLE} mine={field.mine} theirs={field.theirs} n={1} total={1} />;
  }
  const overlaps = pieces.flatMap((piece) => ("overlap" in piece ? [piece.overlap] : []));
  const clean = pieces.length - overlaps.length;
  return (
    <>
      {clean > 0 && overlaps.length > 0 ? <p>{say("conflict.mergeRest")}</p> : null}
      {overlaps.map((overlap, index) => (
        <Place
          key={`${index} ${placeName(overlap)}`} about={about} state={state} field={field} place={placeName(overlap)}
          mine={overlap.mine} theirs={overlap.theirs} n={index + 1} total={overlaps.length}
        />
      ))}
    </>
  );
}

interface PlaceProps extends MergeProps {
  readonly field: CaseField;
  readonly place: string;
  readonly mine: CaseField["mine"];
  readonly theirs: CaseField["theirs"];
  readonly n: number;
  readonly total: number;
}

function Place({ about, state, field, place, mine, theirs, n, total }: PlaceProps): ReactNode {
  const ui = useUi();
  const { say } = ui;
  const name = useId();
  const of = { entityType: about.entityType, field: field.field };
  const picked = state.draftOf(field)?.picks[place] ?? "mine";
  const line = (value: CaseField["mine"]) => (value === "" ? say("conflict.pickEmpty") : lineOf(ui, of, value));
  const option = (pick: Pick, label: string) => (
    <label className="antiphon-option">
      <input type="radio" name={name} checked={picked === pick} onChange={() => state.pick(field, place, pick)} />
      <span>{label}</span>
    </label>
  );
  return (
    <fieldset className="antiphon-place">
      <legend>{say("conflict.mergePlace", { n, total })}</legend>
      {option("mine", say("conflict.pickMine", { text: line(mine) }))}
      {option("theirs", say("conflict.pickTheirs", { name: ui.person(about.theirs.actor), text: line(theirs) }))}
      {field.pieces ? option("both", say("conflict.pickBoth")) : null}
    </fieldset>
  );
}
