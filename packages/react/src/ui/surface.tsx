// What the components stand in: a frame that says its language and direction, a dialog, and a region that is read out.
// Laws: Escape asks to close and does nothing else; focus goes into a dialog to its heading, so that no key that was still
// on its way decides anything, and back where it came from; a region that is read out is there before its text is.

import { type ReactNode, type RefObject, useEffect, useRef } from "react";

import { useUi } from "./settings.js";

/** A frame around a component that is part of the page. */
export function Frame({ name, children }: { readonly name: string; readonly children: ReactNode }): ReactNode {
  const { locale, direction } = useUi();
  return <div className={`antiphon antiphon-${name}`} lang={locale} dir={direction}>{children}</div>;
}

/** What a dialog is made of. */
export interface DialogProps {
  readonly name: string;
  readonly open: boolean;
  readonly onClose: () => void;
  /** The id of its heading, which has the focus first. */
  readonly headingId: string;
  readonly children: ReactNode;
}

/** A dialog above the page. */
export function Dialog({ name, open, onClose, headingId, children }: DialogProps): ReactNode {
  const { locale, direction } = useUi();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    if (!element || !open) return undefined;
    if (!element.open) element.showModal();
    element.querySelector<HTMLElement>(`#${CSS.escape(headingId)}`)?.focus();
    return () => { if (element.open) element.close(); };
  }, [open, headingId]);
  // A browser closes a dialog by itself at a second Escape; then it has to be known here as well. That it was closed is
  // told late: it may be open again by then.
  return (
    <dialog
      ref={dialog} className={`antiphon antiphon-dialog antiphon-${name}`} lang={locale} dir={direction} aria-labelledby={headingId}
      onCancel={(event) => { event.preventDefault(); onClose(); }} onClose={(event) => { if (open && !event.currentTarget.open) onClose(); }}
    >
      {open ? children : null}
    </dialog>
  );
}

/** A region that is read out when its text changes, without moving the focus. */
export function Announcement({ children, visible = true }: { readonly children: ReactNode; readonly visible?: boolean }): ReactNode {
  return <div role="status" className={visible ? "antiphon-announcement" : "antiphon-unseen"}>{children}</div>;
}

/** Text that is read out, and not seen. */
export function Unseen({ children }: { readonly children: ReactNode }): ReactNode {
  return <span className="antiphon-unseen">{children}</span>;
}

/** Moves the focus to an element whenever `mark` changes, but not at first. */
export function useFocusWhen(target: RefObject<HTMLElement | null>, mark: unknown): void {
  const before = useRef(mark);
  useEffect(() => {
    if (Object.is(before.current, mark)) return;
    before.current = mark;
    target.current?.focus();
  }, [target, mark]);
}

/** Copies a text; tells whether that worked. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Hands a document to the person as a file. */
export function saveFile(name: string, document: unknown): void {
  const blob = new Blob([JSON.stringify(document, null, 2)], { type: "application/json" });
  const link = globalThis.document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has taken the file by the next turn.
  setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
}
