// Where a person is in Desk: a screen and what it shows, in the address behind `#`, so that everything has a link.

import { useSyncExternalStore } from "react";

/** A screen, and what it shows. */
export type Place =
  | { readonly screen: "pages"; readonly id: string | null }
  | { readonly screen: "tasks"; readonly id: string | null }
  | { readonly screen: "search"; readonly words: string }
  | { readonly screen: "trash" | "waiting" };

/** The address of a place. */
export function addressOf(place: Place): string {
  switch (place.screen) {
    case "pages": case "tasks": return place.id === null ? `#/${place.screen}` : `#/${place.screen}/${encodeURIComponent(place.id)}`;
    case "search": return `#/search/${encodeURIComponent(place.words)}`;
    default: return `#/${place.screen}`;
  }
}

/** The place of an address; one that says nothing is the pages. */
export function placeOf(hash: string): Place {
  const [screen, rest = ""] = hash.replace(/^#\/?/, "").split("/");
  const about = decoded(rest);
  switch (screen) {
    case "tasks": return { screen, id: about || null };
    case "search": return { screen, words: about };
    case "trash": case "waiting": return { screen };
    default: return { screen: "pages", id: about || null };
  }
}

/** Goes to a place; `replace` leaves no step to go back to. */
export function go(place: Place, { replace = false } = {}): void {
  const address = addressOf(place);
  if (replace) location.replace(address);
  else location.hash = address;
}

/** Where the person is. */
export function usePlace(): Place {
  const hash = useSyncExternalStore(onMove, () => location.hash);
  return placeOf(hash);
}

function onMove(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
