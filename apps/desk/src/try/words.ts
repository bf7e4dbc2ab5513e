// What the page of `/try` and the windows in it say to one another. Law: words of another origin are not heard.

/** An edit that waits in a window. */
export interface Moving {
  readonly key: string;
  readonly entityType: string;
  readonly field: string | null;
  readonly state: "pending" | "sent" | "accepted" | "conflicted" | "failed";
}

/** How a window stands. */
export interface WindowState {
  readonly desk: "state";
  readonly user: string;
  readonly connection: string;
  /** The title of the page that the guide is about. */
  readonly title: string | null;
  readonly moving: readonly Moving[];
}

/** What a window is asked to do. */
export type Command =
  | { readonly desk: "pull"; readonly pulled: boolean }
  | { readonly desk: "rename"; readonly title: string }
  | { readonly desk: "choose" };

/** The page that the guide is about. */
export const GUIDED_PAGE = "00000000-0000-4001-8001-000000000001";

/** Hears what comes from this origin's windows, until the returned function is called. */
export function hear<T extends WindowState | Command>(listener: (said: T, from: MessageEventSource | null) => void): () => void {
  const heard = ({ origin, data, source }: MessageEvent) => {
    if (origin === location.origin && typeof data === "object" && data !== null && "desk" in data) listener(data as T, source);
  };
  addEventListener("message", heard);
  return () => removeEventListener("message", heard);
}
