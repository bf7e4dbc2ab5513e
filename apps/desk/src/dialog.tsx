// A dialog above the page: the focus goes to its heading, Escape closes it, and the focus goes back where it came from.

import { type ReactNode, useEffect, useId, useRef } from "react";

import { useSpeech } from "./texts/speaking.js";

/** What a dialog is made of. */
export interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly wide?: boolean;
  readonly children: ReactNode;
}

/** A dialog that is there while it is rendered. */
export function Dialog({ title, onClose, wide = false, children }: DialogProps): ReactNode {
  const { say } = useSpeech();
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const id = useId();
  useEffect(() => {
    const from = document.activeElement;
    const element = dialog.current;
    if (element && !element.open) element.showModal();
    heading.current?.focus();
    return () => {
      element?.close();
      if (from instanceof HTMLElement && from.isConnected) from.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog} className={wide ? "dialog wide" : "dialog"} aria-labelledby={id}
      onCancel={(event) => { event.preventDefault(); onClose(); }}
    >
      <div className="head">
        <h2 id={id} ref={heading} tabIndex={-1}>{title}</h2>
        <button type="button" className="quiet icon" aria-label={say("close")} onClick={onClose}>✕</button>
      </div>
      {children}
    </dialog>
  );
}
