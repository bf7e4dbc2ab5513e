// One task with all of its fields. Each is an edit of its own, made as it is chosen; there is nothing to save.

import { useDraft, useEntities, useEntity, useMutate } from "@antiphon/react";
import { type FormEvent, type ReactNode, useId, useState } from "react";

import { Dialog } from "../dialog.js";
import type { Task } from "../entities.js";
import { HistoryDialog } from "../history/history-dialog.js";
import { LastEdited } from "../history/last-edited.js";
import { WonHint } from "../journal.js";
import { titleOf } from "../pages/title.js";
import { knownPeople } from "../session.js";
import { FieldBadge, RowBadge } from "../sync.js";
import { useSpeech } from "../texts/speaking.js";
import { isStatus, priorityText, STATUSES, statusText } from "./columns.js";

const PAGES_MAX = 500;

/** What the dialog is given. */
export interface TaskDialogProps {
  readonly id: string;
  readonly org: string;
  readonly onClose: () => void;
}

/** A task by its id. */
export function TaskDialog({ id, org, onClose }: TaskDialogProps): ReactNode {
  const { say } = useSpeech();
  const { row: task, presence } = useEntity("task", id);
  const [history, showHistory] = useState(false);
  return (
    <Dialog title={say("task.details")} onClose={onClose}>
      {task ? (
        <>
          <WonHint entityType="task" id={id} />
          <TaskFields task={task} org={org} />
          <div className="meta">
            <LastEdited entityType="task" id={id} />
            <RowBadge entityType="task" entityId={id} />
            <button type="button" className="quiet" onClick={() => showHistory(true)}>{say("page.history")}</button>
          </div>
          {history ? <HistoryDialog entityType="task" id={id} title={titleOf(task, say)} onClose={() => showHistory(false)} /> : null}
        </>
      ) : <p className="hint">{say(presence === "nowhere" ? "task.gone" : "page.elsewhere")}</p>}
    </Dialog>
  );
}

function TaskFields({ task, org }: { readonly task: Task; readonly org: string }): ReactNode {
  const { say } = useSpeech();
  const tasks = useMutate("task");
  const title = useDraft("task", task.id, "title");
  const pages = useEntities("page", { where: { archived: false }, order: ["title"], limit: PAGES_MAX });
  const set = (fields: Partial<Task>) => { tasks.update(task.id, fields); };
  return (
    <div className="fields">
      <Field task={task.id} field="title" label={say("task.title")}>{(id) => <input {...title.props} id={id} autoComplete="off" dir="auto" />}</Field>
      <Field task={task.id} field="status" label={say("task.status")}>{(id) => (
        <select id={id} value={task.status ?? ""} onChange={(event) => set({ status: event.target.value })}>
          {STATUSES.map((status) => <option key={status} value={status}>{statusText(status, say)}</option>)}
          {isStatus(task.status) ? null : <option value={task.status ?? ""}>{statusText(task.status, say)}</option>}
        </select>
      )}</Field>
      <Field task={task.id} field="assignee" label={say("task.assignee")}>{(id) => (
        <select id={id} value={task.assignee ?? ""} onChange={(event) => set({ assignee: event.target.value || null })}>
          <option value="">{say("task.nobody")}</option>
          {assignees(task.assignee, org).map((person) => <option key={person.id} value={person.id}>{person.name}</option>)}
        </select>
      )}</Field>
      <Field task={task.id} field="priority" label={say("task.priority")}>{(id) => (
        <select id={id} value={task.priority ?? ""} onChange={(event) => set({ priority: event.target.value === "" ? null : Number(event.target.value) })}>
          <option value="">{priorityText(null, say)}</option>
          {[1, 2, 3].map((priority) => <option key={priority} value={priority}>{priorityText(priority, say)}</option>)}
        </select>
      )}</Field>
      <Field task={task.id} field="due_on" label={say("task.due")}>{(id) => (
        <input id={id} type="date" value={task.due_on ?? ""} onChange={(event) => set({ due_on: event.target.value || null })} />
      )}</Field>
      <Field task={task.id} field="page_id" label={say("task.page")}>{(id) => (
        <select id={id} value={task.page_id ?? ""} onChange={(event) => set({ page_id: event.target.value || null })}>
          <option value="">{say("task.noPage")}</option>
          {pages.rows.map((page) => <option key={page.id} value={page.id}>{titleOf(page, say)}</option>)}
          {task.page_id !== null && !pages.ids.includes(task.page_id) ? <option value={task.page_id}>…</option> : null}
        </select>
      )}</Field>
      <Labels task={task} />
    </div>
  );
}

function assignees(chosen: string | null, org: string): readonly { readonly id: string; readonly name: string }[] {
  const people = knownPeople().filter((person) => person.org === org);
  return chosen === null || people.some(({ id }) => id === chosen) ? people : [...people, { id: chosen, name: chosen }];
}

interface FieldProps {
  readonly task: string;
  readonly field: string;
  readonly label: string;
  readonly children: (id: string) => ReactNode;
}

function Field({ task, field, label, children }: FieldProps): ReactNode {
  const id = useId();
  return (
    <div className="field">
      <span className="name"><label htmlFor={id}>{label}</label><FieldBadge entityType="task" entityId={task} field={field} /></span>
      {children(id)}
    </div>
  );
}

function Labels({ task }: { readonly task: Task }): ReactNode {
  const { say } = useSpeech();
  const tasks = useMutate("task");
  const [label, type] = useState("");
  const labels = (task.labels ?? []).filter((one) => one !== null);
  const add = (event: FormEvent) => {
    event.preventDefault();
    if (label.trim() === "") return;
    tasks.change(task.id, "labels", { add: [label.trim()] });
    type("");
  };
  return (
    <fieldset className="field">
      <legend>{say("task.labels")} <FieldBadge entityType="task" entityId={task.id} field="labels" /></legend>
      <ul className="labels">
        {labels.map((one) => (
          <li key={one} className="tag" dir="auto">{one} <button
            type="button" className="quiet icon" aria-label={say("task.removeLabel", { label: one })}
            onClick={() => tasks.change(task.id, "labels", { remove: [one] })}
          >✕</button></li>
        ))}
      </ul>
      <form className="add" onSubmit={add}>
        <input value={label} onChange={(event) => type(event.target.value)} aria-label={say("task.addLabel")} autoComplete="off" dir="auto" />
        <button type="submit">{say("tasks.add")}</button>
      </form>
    </fieldset>
  );
}
