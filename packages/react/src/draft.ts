// A text field as it is being typed, in a component.
// Laws: what was typed is kept on the device at every stroke and becomes an edit after two seconds of rest, on blur, when
// the page is hidden and when the component leaves; what others write is merged in without moving the caret.

import { type DraftShown, type Edit, movedOffset, type TextChange } from "@antiphon/client";
import { type ChangeEvent, type RefCallback, useMemo, useRef } from "react";

import { NO_TEXT } from "./hub.js";
import { useHub } from "./provider.js";
import type { EntityType, TextField } from "./register.js";
import { constant } from "./sources.js";
import { useBeforePaint, useSource } from "./use-source.js";

/** What a draft is typed into. */
type TextElement = HTMLTextAreaElement | HTMLInputElement;

/** What `<textarea>` and `<input>` take, as in `<textarea {...draft.props} />`. */
export interface DraftProps {
  readonly value: string;
  /** While the text is still to come. */
  readonly readOnly: boolean;
  readonly ref: RefCallback<TextElement>;
  readonly onChange: (event: ChangeEvent<TextElement>) => void;
  readonly onBlur: () => void;
  readonly onCompositionStart: () => void;
  readonly onCompositionEnd: () => void;
}

/** A text field as it is being typed. */
export interface Draft extends DraftShown {
  /** Takes what was typed, where `props` does not. */
  readonly setText: (text: string) => void;
  /** Makes an edit of it now; null where nothing was typed, or it cannot be one (`problem`). */
  readonly flush: () => Edit | null;
  /** Forgets what was typed since the last edit. */
  readonly discard: () => void;
  /** For `<textarea>` and `<input>`. */
  readonly props: DraftProps;
}

const NO_DRAFT = constant(NO_TEXT);

/** A text field of a row as it is being typed; `null` as id asks for nothing. */
export function useDraft<T extends EntityType>(entityType: T, id: string | null | undefined, field: TextField<T>): Draft {
  const hub = useHub();
  const element = useRef<TextElement | null>(null);
  const draft = useMemo(
    () => (hub && id !== null && id !== undefined ? hub.organization.draft(entityType, id, field) : undefined),
    [hub, entityType, id, field],
  );
  const shown = useSource(useMemo(() => (hub && draft ? hub.draft(draft) : NO_DRAFT), [hub, draft]));
  useBeforePaint(() => draft?.subscribe((now, changes) => {
    if (changes && element.current) follow(element.current, now.text, changes);
  }), [draft]);
  const acts = useMemo(() => ({
    setText: (text: string) => draft?.setText(text),
    flush: () => draft?.flush() ?? null,
    discard: () => draft?.discard(),
  }), [draft]);
  const handlers = useMemo(() => ({
    ref: (here: TextElement | null) => { element.current = here; },
    onChange: (event: ChangeEvent<TextElement>) => draft?.setText(event.target.value),
    onBlur: () => { draft?.flush(); },
    onCompositionStart: () => draft?.composing(true),
    onCompositionEnd: () => draft?.composing(false),
  }), [draft]);
  return useMemo(
    () => ({ ...shown, ...acts, props: { value: shown.text, readOnly: shown.loading, ...handlers } }),
    [shown, acts, handlers],
  );
}

/** Puts a text in place that others changed, with the caret and what is selected where they were in it. */
function follow(element: TextElement, text: string, changes: readonly TextChange[]): void {
  const { selectionStart, selectionEnd, selectionDirection, scrollTop } = element;
  if (element.value === text || element.ownerDocument.activeElement !== element) return;
  element.value = text;
  if (selectionStart === null || selectionEnd === null) return;
  element.setSelectionRange(movedOffset(selectionStart, changes), movedOffset(selectionEnd, changes), selectionDirection ?? undefined);
  element.scrollTop = scrollTop;
}
