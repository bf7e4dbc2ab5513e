// One task on the board.

import { useMutate } from "@antiphon/react";
import { type KeyboardEvent, memo, type ReactNode, useEffect, useRef } from "react";

import { addressOf } from "../address.js";
import type { Task } from "../entities.js";
import { Menu, type MenuItem } from "../menu.js";
import type { Dragging } from "../moving.js";
import { titleOf } from "../pages/title.js";
import { RowBadge } from "../sync.js";
import { useSpeech } from "../texts/speaking.js";
import { priorityText } from "./columns.js";

const LABELS_SHOWN_MAX = 6;

/** The task that keys have sent to another column, until it is there. */
let followed: string | null = null;

/** Has the focus follow a task to the column to which keys send it. */
export function follow(id: string): void {
  followed = id;
}

/** What can be done with the tasks of a column. */
export interface TaskActs {
  /** Tells whether a key moved it. */
  readonly step: (task: Task, key: string) => boolean;
  readonly items: (task: Task) => readonly MenuItem[];
}

/** What a card is given. */
export interface CardProps {
  readonly task: Task;
  /** Whether Tab leads to it. */
  readonly stop: boolean;
  readonly over: boolean;
  readonly dragged: boolean;
  readonly item: Dragging["item"];
  readonly acts: TaskActs;
}

/** A task. */
export const TaskCard = memo(function TaskCard({ task, stop, over, dragged, item, acts }: CardProps): ReactNode {
  const speech = useSpeech();
  const { say } = speech;
  const tasks = useMutate("task");
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.altKey && acts.step(task, event.key)) event.preventDefault();
  };
  const labels = (task.labels ?? []).filter((label) => label !== null);
  const votes = Number(task.votes ?? 0);
  const link = useRef<HTMLAnchorElement>(null);
  useEffect(() => {
    if (followed !== task.id) return;
    followed = null;
    link.current?.focus();
  }, [task.id]);
  const tabIndex = stop ? undefined : -1;
  return (
    <li
      className="card" data-item={task.id} data-over={over} data-dragged={dragged} onKeyDown={onKeyDown} {...item(task.id)}
    >
      <div className="card-head">
        <a ref={link} href={addressOf({ screen: "tasks", id: task.id })} tabIndex={tabIndex} dir="auto">{titleOf(task, say)}</a>
        <Menu label={say("tasks.menu", { title: titleOf(task, say) })} items={() => acts.items(task)} stop={stop} />
      </div>
      {task.priority !== 1 && task.due_on === null && labels.length === 0 ? null : <p className="card-meta">
        {task.priority === 1 ? <span className="tag high">{priorityText(1, say)}</span> : null}
        {task.due_on === null ? null : <Due day={task.due_on} done={task.status === "done"} />}
        {labels.slice(0, LABELS_SHOWN_MAX).map((label) => <span key={label} className="tag" dir="auto">{label}</span>)}
      </p>}
      <div className="card-foot">
        <button
          type="button" className="quiet vote" tabIndex={tabIndex} aria-label={say("task.vote", { title: titleOf(task, say), n: votes })}
          onClick={() => tasks.add(task.id, "votes", 1)}
        ><span aria-hidden="true">▲</span> {votes}</button>
        <RowBadge entityType="task" entityId={task.id} />
        {task.assignee === null ? null : <Who name={speech.person(task.assignee)} />}
      </div>
    </li>
  );
});

function Who({ name }: { readonly name: string }): ReactNode {
  return <span className="who"><span className="face" aria-hidden="true">{name.charAt(0)}</span> {name}</span>;
}

function Due({ day, done }: { readonly day: string; readonly done: boolean }): ReactNode {
  const { say, date } = useSpeech();
  const late = !done && day < new Date().toISOString().slice(0, 10);
  return <time dateTime={day} className={late ? "late" : undefined}>{say(late ? "task.overdue" : "task.dueShort", { date: date(day) })}</time>;
}
