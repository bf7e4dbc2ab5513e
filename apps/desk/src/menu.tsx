// A button that opens a list of things to do, for the mouse and for keys.
// Laws: arrows, Home, End and a letter move in it; Escape and a click elsewhere close it; the focus goes back to the button,
// unless what was done moved it.

import { type KeyboardEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";

/** One thing to do. */
export interface MenuItem {
  readonly label: string;
  readonly act: () => void;
  readonly disabled?: boolean;
  readonly danger?: boolean;
}

/** What a menu is made of. */
export interface MenuProps {
  /** How the button is called, for who does not see its sign. */
  readonly label: string;
  /** Asked for when it opens, so that a list of many menus costs nothing while they are closed. */
  readonly items: () => readonly MenuItem[];
  /** What the button shows; three dots where it is left out. */
  readonly children?: ReactNode;
  /** Whether Tab leads to the button. */
  readonly stop?: boolean;
}

/** The button and its list. */
export function Menu({ label, items, children = "⋯", stop = true }: MenuProps): ReactNode {
  const [open, setOpen] = useState(false);
  const id = useId();
  const place = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return undefined;
    itemsIn(place.current)[0]?.focus();
    const leave = (event: Event) => { if (!place.current?.contains(event.target as Node)) setOpen(false); };
    document.addEventListener("pointerdown", leave);
    document.addEventListener("focusin", leave);
    return () => {
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("focusin", leave);
    };
  }, [open]);
  const close = () => { setOpen(false); button.current?.focus(); };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape" && open) { event.stopPropagation(); close(); }
    else if (open) moveFocus(event, itemsIn(place.current));
    else if (event.key === "ArrowDown" && !event.altKey) { event.preventDefault(); setOpen(true); }
  };
  return (
    <div className="menu" ref={place} onKeyDown={onKeyDown}>
      <button
        ref={button} type="button" className="quiet icon" aria-haspopup="menu" aria-expanded={open} aria-controls={open ? id : undefined}
        aria-label={label} tabIndex={stop ? undefined : -1} onClick={() => setOpen(!open)}
      >{children}</button>
      {open ? (
        <div className="menu-list" role="menu" id={id} aria-label={label}>
          {items().map((item) => (
            <button
              key={item.label} type="button" role="menuitem" tabIndex={-1} className={item.danger ? "danger" : undefined}
              aria-disabled={item.disabled ?? false} onClick={() => { if (!item.disabled) { close(); item.act(); } }}
            >{item.label}</button>
          ))}
        </div>
      ) : null}
    </div>
  );
}

function itemsIn(place: HTMLElement | null): HTMLElement[] {
  return [...place?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? []];
}

function moveFocus(event: KeyboardEvent, items: readonly HTMLElement[]): void {
  const at = items.findIndex((item) => item === document.activeElement);
  const letter = event.key.toLocaleLowerCase();
  const starts = (item: HTMLElement) => item.textContent?.toLocaleLowerCase().startsWith(letter);
  const next = {
    ArrowDown: items[(at + 1) % items.length], ArrowUp: items[(at - 1 + items.length) % items.length], Home: items[0], End: items.at(-1),
  }[event.key] ?? (letter.length === 1 ? [...items.slice(at + 1), ...items].find(starts) : undefined);
  if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  next.focus();
}
