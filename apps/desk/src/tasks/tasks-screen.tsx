// The board: a column for each state, in each the tasks in their order; moved by dragging, by a menu, and by keys.
// Law: a move is one edit of one task, whose state and place stand or fall together in what a person sees.

import { useEntities, useEntity, useMutate } from "@antiphon/react";
import { type FormEvent, type ReactNode, useId, useMemo, useRef, useState } from "react";

import { go } from "../address.js";
import type { Task } from "../entities.js";
import { useKeptFocus } from "../kept-focus.js";
import type { MenuItem } from "../menu.js";
import { keyFor, moveItems, placeAfter, useDragging } from "../moving.js";
import { keyAt } from "../order.js";
import { placeAbove } from "../pages/pages-screen.js";
import { titleOf } from "../pages/title.js";
import { useRoving } from "../roving.js";
import { knownPeople } from "../session.js";
import { useTell } from "../telling.js";
import { useSpeech } from "../texts/speaking.js";
import { STATUSES, statusText, type TaskStatus } from "./columns.js";
import { follow, type TaskActs, TaskCard } from "./task-card.js";
import { TaskDialog } from "./task-dialog.js";

const PAGE_SIZE = 50;
/** Whose tasks are shown: everybody's, nobody's, or one person's. */
type Whose = "everybody" | "nobody" | { readonly id: string };

/** The screen of tasks. */
export function TasksScreen({ id, org }: { readonly id: string | null; readonly org: string }): ReactNode {
  const { say } = useSpeech();
  const [whose, choose] = useState<Whose>("everybody");
  return (
    <main id="content" tabIndex={-1} className="board-screen">
      <div className="head">
        <h1>{say("tasks.title")}</h1>
        <Filter whose={whose} choose={choose} org={org} />
      </div>
      <div className="board">
        {STATUSES.map((status) => <Column key={status} status={status} whose={whose} org={org} />)}
      </div>
      <p className="hint keys">{say("tasks.keys")}</p>
      {id === null ? null : <TaskDialog key={id} id={id} org={org} onClose={() => go({ screen: "tasks", id: null })} />}
    </main>
  );
}

interface FilterProps {
  readonly whose: Whose;
  readonly choose: (whose: Whose) => void;
  readonly org: string;
}

function Filter({ whose, choose, org }: FilterProps): ReactNode {
  const { say } = useSpeech();
  const value = typeof whose === "string" ? whose : `of ${whose.id}`;
  const take = (text: string) => choose(text === "everybody" || text === "nobody" ? text : { id: text.slice(3) });
  return (
    <select aria-label={say("tasks.filter")} value={value} onChange={(event) => take(event.target.value)}>
      <option value="everybody">{say("tasks.everybody")}</option>
      {knownPeople().filter((person) => person.org === org).map(({ id, name }) => <option key={id} value={`of ${id}`}>{say("tasks.of", { name })}</option>)}
      <option value="nobody">{say("tasks.nobodys")}</option>
    </select>
  );
}

interface ColumnProps {
  readonly status: TaskStatus;
  readonly whose: Whose;
  readonly org: string;
}

function Column({ status, whose }: ColumnProps): ReactNode {
  const { say } = useSpeech();
  const heading = useId();
  const where = { status, ...(whose === "everybody" ? {} : { assignee: whose === "nobody" ? null : whose.id }) };
  const { rows, ids, complete, hasMore, more } = useEntities("task", { where, order: ["position", "title"], pageSize: PAGE_SIZE });
  const list = useRef<HTMLOListElement>(null);
  useKeptFocus(list, ids);
  const roving = useRoving(ids);
  const acts = useActs(status, rows);
  const dragging = useDragging(acts.drop);
  const column = statusText(status, say);
  return (
    <section className="column" aria-labelledby={heading} {...dragging.list}>
      <h2 id={heading}>{column} <span className="count">{say("tasks.count", { n: rows.length })}{hasMore ? "+" : ""}</span></h2>
      <ol className="cards" ref={list} tabIndex={-1} aria-labelledby={heading} aria-busy={!complete} data-end={dragging.over === null} {...roving.list}>
        {rows.map((task) => (
          <TaskCard
            key={task.id} task={task} stop={task.id === roving.stop} acts={acts} item={dragging.item}
            over={dragging.over === task.id} dragged={dragging.dragged === task.id}
          />
        ))}
      </ol>
      {rows.length === 0 ? <p className="hint">{say(complete ? "tasks.empty" : "pages.loading")}</p> : null}
      {hasMore ? <button type="button" className="quiet" onClick={more}>{say("tasks.more", { column })}</button> : null}
      <NewTask status={status} rows={rows} whose={whose} />
    </section>
  );
}

/** What can be done with the tasks of a column; the same functions until the language changes. */
function useActs(status: TaskStatus, rows: readonly Task[]): TaskActs & { readonly drop: (id: string, above: string | null) => void } {
  const speech = useSpeech();
  const tell = useTell();
  const tasks = useMutate("task");
  const shown = useRef(rows);
  shown.current = rows;
  return useMemo(() => {
    const { say } = speech;
    const put = (id: string, place: number) => {
      const task = shown.current.find((one) => one.id === id);
      tasks.update(id, { position: keyFor(shown.current, id, place), ...(task ? {} : { status }) });
      if (task) tell(say("move.done", { title: titleOf(task, say), n: place + 1, total: shown.current.length }));
    };
    const toColumn = (task: Task, column: TaskStatus) => {
      tasks.update(task.id, { status: column });
      tell(say("move.doneColumn", { title: titleOf(task, say), column: statusText(column, say) }));
    };
    const remove = (task: Task) => {
      tasks.delete(task.id);
      tell(say("tasks.deleted", { title: titleOf(task, say) }));
    };
    const step = (task: Task, key: string): boolean => {
      const aside = { ArrowLeft: -1, ArrowRight: 1 }[key];
      const by = { ArrowUp: -1 as const, ArrowDown: 1 as const }[key];
      const column = aside === undefined ? undefined : STATUSES[STATUSES.indexOf(status) + (speech.direction === "rtl" ? -aside : aside)];
      const place = by === undefined ? undefined : placeAfter(shown.current, task.id, by);
      if (column) {
        follow(task.id);
        toColumn(task, column);
      }
      if (place !== undefined) put(task.id, place);
      return aside !== undefined || by !== undefined;
    };
    const items = (task: Task): MenuItem[] => [
      ...STATUSES.filter((column) => column !== status)
        .map((column) => ({ label: say("tasks.moveTo", { column: statusText(column, say) }), act: () => toColumn(task, column) })),
      ...moveItems(shown.current, task.id, speech, (place) => put(task.id, place)),
      { label: say("tasks.delete"), danger: true, act: () => remove(task) },
    ];
    return { drop: (id: string, above: string | null) => put(id, placeAbove(shown.current, id, above)), step, items };
  }, [tasks, speech, tell, status]);
}

interface NewProps {
  readonly status: TaskStatus;
  readonly rows: readonly Task[];
  readonly whose: Whose;
}

function NewTask({ status, rows, whose }: NewProps): ReactNode {
  const { say } = useSpeech();
  const tasks = useMutate("task");
  const [title, type] = useState("");
  const label = say("tasks.new", { column: statusText(status, say) });
  const add = (event: FormEvent) => {
    event.preventDefault();
    if (title.trim() === "") return;
    tasks.create({
      title: title.trim(), status, assignee: typeof whose === "string" ? null : whose.id, page_id: null, priority: 2, due_on: null,
      labels: [], votes: 0, position: keyAt(rows, rows.length),
    });
    type("");
  };
  return (
    <form className="add" onSubmit={add}>
      <input value={title} onChange={(event) => type(event.target.value)} aria-label={label} placeholder={label} autoComplete="off" dir="auto" />
      <button type="submit">{say("tasks.add")}</button>
    </form>
  );
}

/** How the page of a task is called, where it has one. */
export function usePageTitle(pageId: string | null): string | undefined {
  const { say } = useSpeech();
  const { row } = useEntity("page", pageId);
  return row ? titleOf(row, say) : undefined;
}
