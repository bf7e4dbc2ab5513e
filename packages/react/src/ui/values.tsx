// The value of a field: shown, said in one line, edited, and compared with another. An application's slot comes first.
// Laws: what a person typed is shown to the letter, in its own direction; an input that cannot be read keeps what was
// typed, says what is wrong at the field, and hands on nothing.

import type { Json } from "@antiphon/client";
import { type ReactNode, useMemo, useState } from "react";

import { type Difference as Found, differenceOf } from "./difference.js";
import { type EditProps, type FieldOf, type ShowProps, type Ui, useUi } from "./settings.js";
import { Unseen } from "./surface.js";

const LINE_MAX = 80;

/** Says a value in one line. */
export function lineOf(ui: Ui, about: FieldOf, value: Json | undefined): string {
  if (value === undefined || value === null || value === "") return ui.say("value.empty");
  const slot = ui.slot(about);
  const text = slot.text ? slot.text(value) : plain(ui, value);
  const line = text.replace(/\s+/gu, " ").trim();
  return line.length > LINE_MAX ? `${[...line].slice(0, LINE_MAX).join("")}…` : line;
}

/** A value as text, as it would be copied. */
export function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function plain(ui: Ui, value: Json): string {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return ui.say(value ? "value.yes" : "value.no");
  if (typeof value === "number") return new Intl.NumberFormat(ui.locale, { maximumFractionDigits: 20 }).format(value);
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) {
    return new Intl.ListFormat(ui.locale, { type: "unit" }).format(value as string[]);
  }
  return JSON.stringify(value);
}

/** Shows a value. */
export function Value(props: ShowProps): ReactNode {
  const ui = useUi();
  const Show = ui.slot(props).show;
  if (Show) return <Show {...props} />;
  const { value } = props;
  if (value === null || value === "") return <span className="antiphon-empty">{ui.say("value.empty")}</span>;
  if (typeof value === "object" && !Array.isArray(value)) {
    return <code className="antiphon-data" dir="ltr">{JSON.stringify(value, null, 2)}</code>;
  }
  return <bdi className="antiphon-data">{ui.slot(props).text?.(value) ?? plain(ui, value)}</bdi>;
}

/** Edits a value; what has no slot is edited as the kind of value that it is. */
export function ValueEditor(props: EditProps): ReactNode {
  const ui = useUi();
  const Edit = ui.slot(props).edit;
  if (Edit) return <Edit {...props} />;
  const { value, id, describedBy, onChange } = props;
  if (typeof value === "boolean") {
    return (
      <input
        type="checkbox" id={id} aria-describedby={describedBy} checked={value}
        onChange={(event) => onChange(event.target.checked)}
      />
    );
  }
  if (value === null || typeof value === "string") {
    return (
      <textarea
        id={id} aria-describedby={describedBy} dir="auto" value={value ?? ""} rows={Math.min(12, 2 + (value ?? "").split("\n").length)}
        onChange={(event) => onChange(event.target.value)}
      />
    );
  }
  return <Written {...props} />;
}

/** A value that is typed as text and read: a number, or a document. */
function Written({ value, id, describedBy, onChange }: EditProps): ReactNode {
  const ui = useUi();
  const [typed, type] = useState<string>();
  const read = typed === undefined ? { value } : readTyped(ui, typed, typeof value === "number");
  const problemId = `${id}-problem`;
  const change = (text: string) => {
    const now = readTyped(ui, text, typeof value === "number");
    type(text);
    if (now.problem === undefined) onChange(now.value);
  };
  const described = [describedBy, read.problem === undefined ? undefined : problemId].filter(Boolean).join(" ");
  const shared = {
    id, "aria-describedby": described === "" ? undefined : described, "aria-invalid": read.problem !== undefined, dir: "ltr",
    value: typed ?? (typeof value === "number" ? String(value) : JSON.stringify(value, null, 2)),
  };
  return (
    <>
      {typeof value === "number"
        ? <input {...shared} inputMode="decimal" onChange={(event) => change(event.target.value)} />
        : <textarea {...shared} rows={6} onChange={(event) => change(event.target.value)} />}
      {read.problem === undefined ? null : <p id={problemId} className="antiphon-problem">{read.problem}</p>}
    </>
  );
}

type Read = { readonly value: Json; readonly problem?: undefined } | { readonly value?: undefined; readonly problem: string };

function readTyped(ui: Ui, text: string, isNumber: boolean): Read {
  if (isNumber) {
    const number = Number(text.trim());
    return text.trim() === "" || !Number.isFinite(number) ? { problem: ui.say("value.number") } : { value: number };
  }
  try {
    return { value: JSON.parse(text) as Json };
  } catch (error) {
    return { problem: ui.say("value.json", { problem: error instanceof Error ? error.message : String(error) }) };
  }
}

/** What is compared: one value with the one before it, of one field. */
export interface CompareProps extends FieldOf {
  readonly before: Json | undefined;
  readonly after: Json;
}

/** How a value became another: in words, and for texts with marks within. */
export function Difference({ before, after, ...about }: CompareProps): ReactNode {
  const ui = useUi();
  const [one, other] = [before ?? "", after];
  const found = useMemo(
    () => (typeof one === "string" && typeof other === "string" ? differenceOf(one, other) : undefined),
    [one, other],
  );
  // An application that shows a field in its own way shows it so here as well.
  if (typeof after !== "string" || (before !== null && typeof before !== "string") || ui.slot(about).show) {
    return (
      <div className="antiphon-difference">
        <Value {...about} value={after} />
        <p className="antiphon-words">{changedLine(ui, about, before, after)}</p>
      </div>
    );
  }
  return (
    <div className="antiphon-difference">
      {found ? <Marked runs={found.runs} /> : <Value {...about} value={after} />}
      <p className="antiphon-words">{found ? differenceLine(ui, found) : ui.say("difference.large")}</p>
    </div>
  );
}

function changedLine(ui: Ui, about: FieldOf, before: Json | undefined, after: Json): string {
  if (before === undefined) return ui.say("conflict.baseUnknown");
  if (JSON.stringify(before) === JSON.stringify(after)) return ui.say("difference.same");
  return ui.say("difference.changed", { before: lineOf(ui, about, before), after: lineOf(ui, about, after) });
}

function differenceLine(ui: Ui, { runs, wordsAdded, wordsRemoved }: Found): string {
  if (runs.every(({ kind }) => kind === "kept")) return ui.say("difference.same");
  if (wordsAdded + wordsRemoved === 0) return ui.say("difference.signs");
  return ui.say("difference.words", {
    added: ui.say("difference.added", { n: wordsAdded }), removed: ui.say("difference.removed", { n: wordsRemoved }),
  });
}

function Marked({ runs }: Pick<Found, "runs">): ReactNode {
  const { say } = useUi();
  if (runs.length === 0) return <span className="antiphon-empty">{say("value.empty")}</span>;
  const end = <Unseen>{` ${say("difference.endMark")} `}</Unseen>;
  return (
    <div className="antiphon-marked antiphon-data" dir="auto">
      {runs.map(({ kind, text }, index) => {
        if (kind === "kept") return <span key={index}>{text}</span>;
        const mark = <Unseen>{` ${say(kind === "added" ? "difference.addedMark" : "difference.removedMark")} `}</Unseen>;
        return kind === "added" ? <ins key={index}>{mark}{text}{end}</ins> : <del key={index}>{mark}{text}{end}</del>;
      })}
    </div>
  );
}
