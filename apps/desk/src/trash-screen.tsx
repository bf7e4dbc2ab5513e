// What was thrown away: pages in the trash, which are on this device, and what the server remembers of what was deleted.
// Law: deleting for good asks first and says what goes and what stays; bringing back is an ordinary edit.

import type { DeletedRow } from "@antiphon/client";
import { useEntities, useMutate, useOrganization, useSyncStatus } from "@antiphon/react";
import { type ReactNode, useCallback, useRef, useState } from "react";

import { Dialog } from "./dialog.js";
import type { Entities, Page } from "./entities.js";
import { usePast } from "./history/past.js";
import { useKeptFocus } from "./kept-focus.js";
import { titleOf } from "./pages/title.js";
import { RowBadge } from "./sync.js";
import { useTell } from "./telling.js";
import { useSpeech } from "./texts/speaking.js";

/** The screen of the trash. */
export function TrashScreen(): ReactNode {
  const { say } = useSpeech();
  const tell = useTell();
  const pages = useMutate("page");
  const { rows, ids, complete } = useEntities("page", { where: { archived: true }, order: ["title"] });
  const [asked, ask] = useState<Page | null>(null);
  const list = useRef<HTMLUListElement>(null);
  useKeptFocus(list, ids);
  const restore = (page: Page) => {
    pages.update(page.id, { archived: false });
    tell(say("trash.restored", { title: titleOf(page, say) }));
  };
  return (
    <main id="content" tabIndex={-1} className="narrow">
      <h1>{say("trash.title")}</h1>
      <h2>{say("trash.pages")}</h2>
      <ul className="found" ref={list} tabIndex={-1}>
        {rows.map((page) => (
          <li key={page.id} data-item={page.id}>
            <a href={`#/pages/${page.id}`} dir="auto">{titleOf(page, say)}</a>
            <RowBadge entityType="page" entityId={page.id} />
            <span className="buttons">
              <button type="button" aria-label={say("trash.restore", { title: titleOf(page, say) })} onClick={() => restore(page)}>{say("trash.restoreShort")}</button>
              <button type="button" className="danger" aria-label={say("trash.forGood", { title: titleOf(page, say) })} onClick={() => ask(page)}>{say("trash.forGoodShort")}</button>
            </span>
          </li>
        ))}
      </ul>
      {rows.length === 0 && complete ? <p className="blank">{say("trash.empty")}</p> : null}
      {asked ? <Ask page={asked} onClose={() => ask(null)} /> : null}
      <h2>{say("trash.deleted")}</h2>
      <p className="hint">{say("trash.deletedAbout")}</p>
      <Deleted entityType="page" />
      <Deleted entityType="task" />
    </main>
  );
}

function Ask({ page, onClose }: { readonly page: Page; readonly onClose: () => void }): ReactNode {
  const { say } = useSpeech();
  const pages = useMutate("page");
  const tasks = useMutate("task");
  const { rows } = useEntities("task", { where: { page_id: page.id } });
  const title = titleOf(page, say);
  const remove = () => {
    // A page to which tasks belong cannot go: they stay, without it.
    for (const task of rows) tasks.update(task.id, { page_id: null });
    pages.delete(page.id);
    onClose();
  };
  return (
    <Dialog title={say("trash.ask", { title })} onClose={onClose}>
      <p>{say("trash.askAbout", { n: rows.length })}</p>
      <div className="buttons end">
        <button type="button" onClick={onClose}>{say("cancel")}</button>
        <button type="button" className="danger" onClick={remove}>{say("trash.forGoodShort")}</button>
      </div>
    </Dialog>
  );
}

/** The fields that a row is made of again. */
const FIELDS = {
  page: ["title", "body", "position"],
  task: ["title", "status", "assignee", "priority", "due_on", "labels", "votes", "position"],
} as const;

function Deleted({ entityType }: { readonly entityType: keyof Entities }): ReactNode {
  const { say, time, person } = useSpeech();
  const organization = useOrganization();
  const online = useSyncStatus(({ connection }) => connection === "online");
  // What was deleted or brought back a moment ago is known once nothing waits.
  const pending = useSyncStatus((status) => status.pending > 0);
  const ask = useCallback(
    (after: string | null) => organization?.deleted(entityType, { after, limit: 20 }) ?? Promise.reject(new Error("not open")),
    [organization, entityType, online, pending],
  );
  const past = usePast<DeletedRow, string>(organization && online && !pending ? ask : null);
  const here = useEntities(entityType, {});
  const restore = useRestore(entityType);
  const items = past.items.filter(({ entityId }) => !here.ids.includes(entityId));
  if (!online && items.length === 0) return entityType === "page" ? <p className="hint">{say("trash.offline")}</p> : null;
  return (
    <ul className="found">
      {items.map((item) => (
        <li key={item.entityId} data-item={item.entityId}>
          <span dir="auto">{titleOf({ title: String(item.data.title ?? "") }, say)}</span>
          <span className="tag">{say(entityType === "page" ? "trash.page" : "trash.task")}</span>
          <span className="hint">{say("trash.deletedBy", { name: item.deletedBy === null ? say("history.nobody") : person(item.deletedBy), time: time(item.deletedAt) })}</span>
          <button type="button" onClick={() => restore(item)}>{say("trash.restoreShort")}</button>
        </li>
      ))}
      {past.older ? <li><button type="button" className="quiet" onClick={past.older}>{say("more")}</button></li> : null}
    </ul>
  );
}

function useRestore(entityType: keyof Entities): (item: DeletedRow) => void {
  const { say } = useSpeech();
  const tell = useTell();
  const pages = useMutate("page");
  const tasks = useMutate("task");
  return ({ entityId, data }) => {
    const fields = Object.fromEntries(FIELDS[entityType].filter((field) => field in data).map((field) => [field, data[field]]));
    if (entityType === "page") pages.create({ ...fields, id: entityId, archived: false });
    else tasks.create({ ...fields, id: entityId });
    tell(say("trash.restored", { title: titleOf({ title: String(data.title ?? "") }, say) }));
  };
}
