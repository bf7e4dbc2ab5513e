// Where somebody else's value won over what was typed here, without a question: told beside the row and in a list, and
// what was typed can be brought back.

import type { JournalLine } from "@antiphon/client";
import { useEntity, useJournal } from "@antiphon/react";
import { type ReactNode, useState } from "react";

import { addressOf } from "./address.js";
import type { Entities } from "./entities.js";
import { fieldName } from "./history/field-name.js";
import { titleOf } from "./pages/title.js";
import { useTell } from "./telling.js";
import { type Speech, useSpeech } from "./texts/speaking.js";

const LINES_MAX = 50;
/** A hint is shown for so long after it was decided. */
const HINT_MS = 24 * 60 * 60 * 1000;
/** Decisions in which a person had no part, and their value is not what is there now. */
const LOST: readonly unknown[] = ["later_wins", "with_its_group"];

/** What was decided without asking. */
export function Journal(): ReactNode {
  const { say } = useSpeech();
  const { lines } = useJournal();
  return (
    <section className="journal" aria-labelledby="journal-title">
      <h2 id="journal-title">{say("journal.title")}</h2>
      {lines.length === 0 ? <p className="hint">{say("journal.none")}</p> : null}
      <ul className="found">{lines.slice(0, LINES_MAX).map((line) => <Line key={`${line.entry} ${line.atMs} ${line.field}`} line={line} />)}</ul>
    </section>
  );
}

function Line({ line }: { readonly line: JournalLine }): ReactNode {
  const speech = useSpeech();
  const { row } = useEntity(line.entityType as keyof Entities, line.entityId);
  const screen = line.entityType === "task" ? "tasks" : "pages";
  const at = new Date(line.atMs).toISOString();
  return (
    <li>
      <span><a href={addressOf({ screen, id: line.entityId })}>{titleOf(row, speech.say)}</a>: {said(line, speech)}</span>
      <time dateTime={at} className="hint">{speech.time(at)}</time>
      <Restore line={line} />
    </li>
  );
}

function Restore({ line }: { readonly line: JournalLine }): ReactNode {
  const { say } = useSpeech();
  const tell = useTell();
  const { canRestore, restoreMine } = useJournal();
  if (!canRestore(line)) return null;
  return <button type="button" onClick={() => { restoreMine(line); tell(say("journal.restored")); }}>{say("journal.restore")}</button>;
}

/** Beside a row: that another's value won over what was typed into it. */
export function WonHint({ entityType, id }: { readonly entityType: keyof Entities; readonly id: string }): ReactNode {
  const speech = useSpeech();
  const { lines } = useJournal();
  const [seen, see] = useState<readonly JournalLine[]>([]);
  const since = Date.now() - HINT_MS;
  const line = lines.find((one) => (
    one.entityType === entityType && one.entityId === id && LOST.includes(one.rule) && one.atMs > since && !seen.includes(one)));
  if (!line) return null;
  return (
    <p className="notice" role="note">
      {said(line, speech)} <Restore line={line} /> <button type="button" className="quiet" onClick={() => see([...seen, line])}>{speech.say("journal.seen")}</button>
    </p>
  );
}

const TOLD = {
  later_wins: "journal.laterWins", with_its_group: "journal.laterWins", mine_wins: "journal.mineWins", merged: "journal.merged", decided: "journal.decided",
  discarded: "journal.discarded", deleted: "journal.deleted", other_tab: "journal.otherTab",
} as const;

function said(line: JournalLine, { say, person }: Speech): string {
  const key = typeof line.rule === "string" && Object.hasOwn(TOLD, line.rule) ? TOLD[line.rule as keyof typeof TOLD] : "journal.other";
  const actor = line.theirs?.actor ?? null;
  return say(key, { name: actor === null ? say("history.nobody") : person(actor), field: line.field === null ? say("field.other") : fieldName(line.field, say) });
}
