// The tasks of a page, below its text: made here, and opened among all tasks.

import { useEntities, useMutate } from "@antiphon/react";
import { type FormEvent, type ReactNode, useId, useState } from "react";

import { addressOf } from "../address.js";
import { keyAt } from "../order.js";
import { RowBadge } from "../sync.js";
import { statusText } from "../tasks/columns.js";
import { useSpeech } from "../texts/speaking.js";
import { titleOf } from "./title.js";

/** The tasks of a page. */
export function PageTasks({ pageId }: { readonly pageId: string }): ReactNode {
  const { say } = useSpeech();
  const tasks = useMutate("task");
  const { rows, complete, hasMore, more } = useEntities("task", { where: { page_id: pageId }, order: ["position"], pageSize: 50 });
  const [title, type] = useState("");
  const heading = useId();
  const add = (event: FormEvent) => {
    event.preventDefault();
    if (title.trim() === "") return;
    tasks.create({
      title: title.trim(), page_id: pageId, status: "todo", position: keyAt(rows, rows.length), votes: 0, labels: [], assignee: null, priority: 2, due_on: null,
    });
    type("");
  };
  return (
    <section className="page-tasks" aria-labelledby={heading} aria-busy={!complete}>
      <h2 id={heading}>{say("page.tasks")}</h2>
      <ul>
        {rows.map((task) => (
          <li key={task.id}>
            <a href={addressOf({ screen: "tasks", id: task.id })}>{titleOf(task, say)}</a>
            <span className="tag">{statusText(task.status, say)}</span>
            <RowBadge entityType="task" entityId={task.id} />
          </li>
        ))}
      </ul>
      {rows.length === 0 && complete ? <p className="hint">{say("page.noTasks")}</p> : null}
      {hasMore ? <button type="button" className="quiet" onClick={more}>{say("more")}</button> : null}
      <form className="add" onSubmit={add}>
        <input value={title} onChange={(event) => type(event.target.value)} aria-label={say("tasks.newTitle")} placeholder={say("page.addTask")} autoComplete="off" dir="auto" />
        <button type="submit">{say("tasks.add")}</button>
      </form>
    </section>
  );
}
