// What Desk says about what a person just did: one line that is seen and read out, in a place that is always there.
// Law: an edit that is not taken is told in words, wherever it was made.

import { AntiphonError, explain } from "@antiphon/client";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from "react";

const SHOWN_MS = 6_000;
const Context = createContext<(text: string) => void>(() => undefined);

/** Holds the line, below everything. */
export function Telling({ children }: { readonly children: ReactNode }): ReactNode {
  const [told, set] = useState({ text: "", count: 0 });
  const tell = useCallback((text: string) => set(({ count }) => ({ text, count: count + 1 })), []);
  useEffect(() => {
    if (told.text === "") return undefined;
    const timer = setTimeout(() => set({ text: "", count: 0 }), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [told]);
  useEffect(() => {
    const refused = ({ error }: ErrorEvent) => { if (error instanceof AntiphonError) tell(explain(error.code)); };
    addEventListener("error", refused);
    return () => removeEventListener("error", refused);
  }, [tell]);
  return (
    <Context.Provider value={tell}>
      {children}
      <div className="told" role="status">{told.text === "" ? null : <p key={told.count}>{told.text}</p>}</div>
    </Context.Provider>
  );
}

/** Says something about what was just done. */
export function useTell(): (text: string) => void {
  return useContext(Context);
}
