// The pages in their order beside the one that is open; on a narrow screen, one or the other.

import { useEntities, useMutate } from "@antiphon/react";
import { type KeyboardEvent, memo, type ReactNode, useMemo, useRef } from "react";

import { addressOf, go } from "../address.js";
import type { Page } from "../entities.js";
import { useKeptFocus } from "../kept-focus.js";
import { Menu, type MenuItem } from "../menu.js";
import { type Dragging, keyFor, moveItems, placeAfter, type Step, useDragging } from "../moving.js";
import { keyAt } from "../order.js";
import { useRoving } from "../roving.js";
import { RowBadge } from "../sync.js";
import { useTell } from "../telling.js";
import { useSpeech } from "../texts/speaking.js";
import { PageView } from "./page-view.js";
import { titleOf } from "./title.js";

const PAGE_SIZE = 200;

/** The screen of pages. */
export function PagesScreen({ id }: { readonly id: string | null }): ReactNode {
  const { say } = useSpeech();
  return (
    <main id="content" tabIndex={-1} className="two" data-open={id !== null}>
      <PageList open={id} />
      <div className="sheet">
        {id === null ? <p className="blank">{say("pages.choose")}</p> : <PageView key={id} id={id} />}
      </div>
    </main>
  );
}

function PageList({ open }: { readonly open: string | null }): ReactNode {
  const speech = useSpeech();
  const { say } = speech;
  const pages = useMutate("page");
  const tell = useTell();
  const { rows, ids, complete, hasMore, more } = useEntities("page", { where: { archived: false }, order: ["position", "title"], pageSize: PAGE_SIZE });
  const list = useRef<HTMLOListElement>(null);
  useKeptFocus(list, ids);
  const roving = useRoving(ids, open);
  // The newest rows, for functions that stay the same.
  const shown = useRef(rows);
  shown.current = rows;
  const acts = useMemo((): Acts => {
    const move = (id: string, place: number) => {
      const page = shown.current.find((one) => one.id === id);
      pages.update(id, { position: keyFor(shown.current, id, place) });
      tell(say("move.done", { title: titleOf(page, say), n: place + 1, total: shown.current.length }));
    };
    return {
      move,
      step: (id, by) => {
        const place = placeAfter(shown.current, id, by);
        if (place !== undefined) move(id, place);
      },
      items: (id) => moveItems(shown.current, id, speech, (place) => move(id, place)),
    };
  }, [pages, speech, say, tell]);
  const dragging = useDragging((id, above) => acts.move(id, placeAbove(shown.current, id, above)));
  const add = () => {
    const { id } = pages.create({ title: "", body: "", position: keyAt(rows, 0), archived: false });
    go({ screen: "pages", id });
  };
  return (
    <section className="side" aria-labelledby="pages-title">
      <div className="head">
        <h1 id="pages-title">{say("pages.title")}</h1>
        <button type="button" className="main" onClick={add}>{say("pages.new")}</button>
      </div>
      <ol className="list" ref={list} tabIndex={-1} aria-labelledby="pages-title" aria-busy={!complete} data-end={dragging.over === null} {...dragging.list} {...roving.list}>
        {rows.map((page) => (
          <PageLine
            key={page.id} page={page} open={page.id === open} stop={page.id === roving.stop} acts={acts} item={dragging.item}
            over={dragging.over === page.id} dragged={dragging.dragged === page.id}
          />
        ))}
      </ol>
      {hasMore ? <button type="button" className="quiet" onClick={more}>{say("more")}</button> : null}
      {rows.length === 0 ? <p className="hint">{say(complete ? "pages.empty" : "pages.loading")}</p> : null}
      {rows.length > 1 ? <p className="hint keys">{say("pages.keys")}</p> : null}
    </section>
  );
}

/** What can be done with the pages; the same functions at every rendering. */
interface Acts {
  readonly move: (id: string, place: number) => void;
  readonly step: (id: string, step: Step) => void;
  readonly items: (id: string) => readonly MenuItem[];
}

interface LineProps {
  readonly page: Page;
  readonly open: boolean;
  readonly stop: boolean;
  readonly over: boolean;
  readonly dragged: boolean;
  readonly item: Dragging["item"];
  readonly acts: Acts;
}

const PageLine = memo(function PageLine({ page, open, stop, over, dragged, item, acts }: LineProps): ReactNode {
  const { say } = useSpeech();
  const title = titleOf(page, say);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.altKey ? { ArrowUp: -1 as const, ArrowDown: 1 as const }[event.key] : undefined;
    if (step === undefined) return;
    event.preventDefault();
    acts.step(page.id, step);
  };
  return (
    <li data-item={page.id} data-over={over} data-dragged={dragged} onKeyDown={onKeyDown} {...item(page.id)}>
      <a href={addressOf({ screen: "pages", id: page.id })} aria-current={open ? "page" : undefined} tabIndex={stop ? undefined : -1} dir="auto">{title}</a>
      <RowBadge entityType="page" entityId={page.id} />
      <Menu label={say("pages.move", { title })} items={() => acts.items(page.id)} stop={stop} />
    </li>
  );
});

/** The place of a row that is dropped above another; null is the end. */
export function placeAbove(rows: readonly { readonly id: string }[], id: string, above: string | null): number {
  const others = rows.filter((row) => row.id !== id);
  const at = others.findIndex((row) => row.id === above);
  return at < 0 ? others.length : at;
}
