// One page: its title, its text to read and to write, its tasks and its history.
// Laws: what is typed is a draft that is kept at every stroke; another person's words come in while one types; a page that
// goes away says so, and words that were typed into it stay in their field.

import { explain } from "@antiphon/client";
import { useDraft, useEntity, useMutate } from "@antiphon/react";
import { type ReactNode, useDeferredValue, useEffect, useId, useRef, useState } from "react";

import { go } from "../address.js";
import type { Page } from "../entities.js";
import { HistoryDialog } from "../history/history-dialog.js";
import { LastEdited } from "../history/last-edited.js";
import { WonHint } from "../journal.js";
import { Markdown } from "../markdown.js";
import { RowBadge } from "../sync.js";
import { useTell } from "../telling.js";
import { useSpeech } from "../texts/speaking.js";
import { PageTasks } from "./page-tasks.js";
import { titleOf } from "./title.js";

/** A page by its id. */
export function PageView({ id }: { readonly id: string }): ReactNode {
  const { say } = useSpeech();
  const { row, presence } = useEntity("page", id);
  const draft = useDraft("page", id, "body");
  const last = useRef(row);
  if (row) last.current = row;
  const page = row ?? (draft.dirty ? last.current : undefined);
  if (!page) return <p className="hint">{say(presence === "nowhere" ? "page.gone" : presence === "here" ? "page.empty" : "page.elsewhere")}</p>;
  return <Shown page={page} gone={!row} />;
}

function Shown({ page, gone }: { readonly page: Page; readonly gone: boolean }): ReactNode {
  const { say } = useSpeech();
  const tell = useTell();
  const pages = useMutate("page");
  const [history, showHistory] = useState(false);
  const title = titleOf(page, say);
  const toTrash = () => {
    pages.update(page.id, { archived: true });
    tell(say("page.trashed", { title }));
    go({ screen: "pages", id: null });
  };
  const restore = () => {
    pages.update(page.id, { archived: false });
    tell(say("trash.restored", { title }));
  };
  return (
    <article className="page" aria-label={title}>
      <h1 className="unseen">{title}</h1>
      <a className="back" href="#/pages">{say("back")}</a>
      {gone ? <p className="notice" role="alert">{say("page.gone")}</p> : null}
      {page.archived ? <p className="notice">{say("page.inTrash")} <button type="button" onClick={restore}>{say("trash.restoreShort")}</button></p> : null}
      <WonHint entityType="page" id={page.id} />
      <Title id={page.id} />
      <div className="meta">
        <LastEdited entityType="page" id={page.id} />
        <RowBadge entityType="page" entityId={page.id} />
        <span className="buttons">
          <button type="button" className="quiet" onClick={() => showHistory(true)}>{say("page.history")}</button>
          {page.archived || gone ? null : <button type="button" className="quiet" onClick={toTrash}>{say("page.toTrash")}</button>}
        </span>
      </div>
      <Body id={page.id} />
      <PageTasks pageId={page.id} />
      {history ? <HistoryDialog entityType="page" id={page.id} title={title} onClose={() => showHistory(false)} /> : null}
    </article>
  );
}

function Title({ id }: { readonly id: string }): ReactNode {
  const { say } = useSpeech();
  const draft = useDraft("page", id, "title");
  const input = useRef<HTMLInputElement | null>(null);
  // A page without a name is new: one begins with its title.
  const first = useRef(draft.text);
  useEffect(() => { if (first.current === "") input.current?.focus(); }, []);
  return (
    <>
      <input
        {...draft.props} className="title" aria-label={say("page.title")} placeholder={say("pages.untitled")} autoComplete="off" dir="auto"
        ref={(element) => { input.current = element; draft.props.ref(element); }}
        onKeyDown={(event) => { if (event.key === "Enter" && !event.nativeEvent.isComposing) draft.flush(); }}
      />
      <Problem code={draft.problem} />
    </>
  );
}

function Body({ id }: { readonly id: string }): ReactNode {
  const { say } = useSpeech();
  const draft = useDraft("page", id, "body");
  const [writing, write] = useState(draft.text === "" && !draft.loading);
  const name = useId();
  const text = useDeferredValue(draft.text);
  return (
    <section className="body">
      <div className="switch" role="group" aria-label={say("page.body")}>
        <button type="button" aria-pressed={!writing} onClick={() => { draft.flush(); write(false); }}>{say("page.read")}</button>
        <button type="button" aria-pressed={writing} onClick={() => write(true)}>{say("page.write")}</button>
        <span className="count">{say("page.words", { n: wordsIn(text) })}</span>
      </div>
      {writing
        ? <><label className="unseen" htmlFor={name}>{say("page.body")}</label><textarea {...draft.props} id={name} className="write" rows={16} dir="auto" /></>
        : <div className="read" dir="auto">{draft.loading ? <p className="hint">{say("page.long")}</p> : text.trim() === "" ? <p className="hint">{say("page.empty")}</p> : <Markdown text={text} />}</div>}
      <Problem code={draft.problem} />
    </section>
  );
}

function Problem({ code }: { readonly code: string | null }): ReactNode {
  const { say } = useSpeech();
  return code === null ? null : <p className="notice" role="alert">{say("page.draftProblem", { why: explain(code) })}</p>;
}

function wordsIn(text: string): number {
  return text.match(/\S+/g)?.length ?? 0;
}
