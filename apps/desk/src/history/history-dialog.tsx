// What became of a row: who changed what and when, each version to read, and to bring back.
// Law: bringing back is an ordinary edit of the fields that a person writes, so it can be undone like any other.

import type { Activity } from "@antiphon/client";
import { useEntity, useMutate } from "@antiphon/react";
import { type ReactNode, useState } from "react";

import { Dialog } from "../dialog.js";
import type { Entities, Page, Task } from "../entities.js";
import { Markdown } from "../markdown.js";
import { useTell } from "../telling.js";
import { type Speech, useSpeech } from "../texts/speaking.js";
import { fieldLabel, fieldName, valueText } from "./field-name.js";
import { useHistory } from "./past.js";

const PAGE_SIZE = 50;

/** The fields that a version brings back. */
const FIELDS = {
  page: ["title", "body"],
  task: ["title", "status", "assignee", "priority", "due_on"],
} as const;
/** What is shown of a version besides its title and text. */
const READ = { page: [], task: ["status", "assignee", "priority", "due_on", "labels", "votes"] } as const;

/** What the dialog is given. */
export interface HistoryProps {
  readonly entityType: keyof Entities;
  readonly id: string;
  readonly title: string;
  readonly onClose: () => void;
}

/** The history of a row. */
export function HistoryDialog({ entityType, id, title, onClose }: HistoryProps): ReactNode {
  const speech = useSpeech();
  const { say } = speech;
  const { row } = useEntity(entityType, id);
  const past = useHistory(entityType, id, row, PAGE_SIZE);
  const [chosen, choose] = useState<number | null>(null);
  const version = past.items.find(({ activityId }) => activityId === chosen) ?? past.items.find(({ data }) => data !== null);
  return (
    <Dialog title={say("history.title", { title })} onClose={onClose} wide>
      {past.state === "reading" && past.items.length === 0 ? <p className="hint">{say("history.loading")}</p> : null}
      {past.state === "offline" ? <p className="notice">{say("history.offline")} <button type="button" onClick={past.again}>{say("outbox.retry")}</button></p> : null}
      {past.state === "here" && past.items.length === 0 ? <p className="hint">{say("history.empty")}</p> : null}
      <div className="history">
        <ol>
          {past.items.map((activity) => (
            <li key={activity.activityId}>
              <button type="button" className="quiet" aria-pressed={activity === version} disabled={activity.data === null} onClick={() => choose(activity.activityId)}>
                <span>{said(activity, speech)}</span>
                <time dateTime={activity.createdAt} title={speech.moment(activity.createdAt)}>{speech.time(activity.createdAt)}</time>
              </button>
            </li>
          ))}
        </ol>
        {past.older ? <button type="button" className="quiet" onClick={past.older}>{say("history.older")}</button> : null}
        {version ? <Version entityType={entityType} id={id} version={version} row={row} /> : null}
      </div>
    </Dialog>
  );
}

interface VersionProps {
  readonly entityType: keyof Entities;
  readonly id: string;
  readonly version: Activity;
  readonly row: Page | Task | undefined;
}

function Version({ entityType, id, version, row }: VersionProps): ReactNode {
  const speech = useSpeech();
  const { say, moment } = speech;
  const tell = useTell();
  const rows = useMutate(entityType);
  const data = (version.data ?? {}) as Readonly<Record<string, unknown>>;
  const current = row as Readonly<Record<string, unknown>> | undefined;
  const known = FIELDS[entityType].filter((field) => field in data && !version.unchanged?.includes(field));
  const fields = Object.fromEntries(known.filter((field) => data[field] !== current?.[field]).map((field) => [field, data[field]]));
  const same = Object.keys(fields).length === 0;
  const restore = () => {
    rows.update(id, fields);
    tell(say("history.restored"));
  };
  return (
    <section className="version" aria-live="polite">
      <h3>{say("history.version", { time: moment(version.createdAt) })}</h3>
      {same ? <p className="hint">{say("history.now")}</p> : null}
      {!same && row ? <button type="button" className="main" onClick={restore}>{say("history.restore")}</button> : null}
      <h4 dir="auto">{String(data.title ?? "")}</h4>
      {READ[entityType].length === 0 ? null : (
        <dl className="values">{READ[entityType].filter((field) => field in data).map((field) => (
          <div key={field}><dt>{fieldLabel(field, speech)}</dt><dd dir="auto">{valueText(field, data[field], speech)}</dd></div>
        ))}</dl>
      )}
      {typeof data.body === "string" ? <div className="read" dir="auto"><Markdown text={data.body} /></div> : null}
    </section>
  );
}

function said({ action, changedKeys, tx }: Activity, { say, person, locale }: Speech): string {
  const name = tx?.actor ? person(tx.actor) : say("history.nobody");
  if (action !== "update") return say(action === "create" ? "history.created" : "history.deleted", { name });
  const names = new Set(changedKeys.filter((field) => !["updated_at", "word_count"].includes(field)).map((field) => fieldName(field, say)));
  return say("history.updated", { name, fields: new Intl.ListFormat(locale).format(names.size > 0 ? names : [say("field.other")]) });
}
