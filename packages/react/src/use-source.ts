// Showing a source in a component.
// Laws: it is subscribed to before anything is painted, so what this device holds is there at the first look; until a
// source of the same kind has begun, the former one stays on screen, so that rows keep their components.

import { useEffect, useLayoutEffect, useState, useSyncExternalStore } from "react";

import type { Source } from "./sources.js";

/** An effect before the next paint; on a server there is none. */
export const useBeforePaint = typeof document === "undefined" ? useEffect : useLayoutEffect;

const deaf = () => undefined;

/** Shows what a source is, now and after each change. */
export function useSource<T>(wanted: Source<T>): T {
  const [shown, show] = useState({ source: wanted });
  const source = shown.source.kind === wanted.kind ? shown.source : wanted;
  const value = useSyncExternalStore(source.subscribe, source.current, source.nothing);
  useBeforePaint(() => {
    const stop = wanted.subscribe(deaf);
    if (source !== wanted || !Object.is(wanted.current(), value)) show({ source: wanted });
    return stop;
    // What was rendered when `wanted` came is what is compared.
  }, [wanted]);
  return value;
}
