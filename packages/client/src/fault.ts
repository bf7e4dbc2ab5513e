// What can go wrong, by code, with a sentence for a person and whether their data is safe.
// Law: a code is stable and is what a program looks at; the sentences may be replaced by the application's own.

/** An error of this package or of the server: `code` says which. */
export class AntiphonError extends Error {
  /** The stable code. */
  readonly code: string;

  constructor(code: string, detail?: string) {
    super(detail ? `${code}: ${detail}` : `${code}: ${explain(code)}`);
    this.name = "AntiphonError";
    this.code = code;
  }
}

const SENTENCES: Readonly<Record<string, string>> = {
  STORE_FULL: "This device is full. Your latest change is not saved yet; keep this page open and free some space.",
  STORE_UNAVAILABLE: "Nothing can be kept on this device right now. Keep this page open until your changes are sent.",
  STORE_IN_MEMORY: "This browser lets nothing be kept, as in a private window. Changes last while this page is open.",
  STORE_NOT_PERSISTED: "Your browser may remove unsent changes if you stay away for long. Come back online soon, or install this app.",
  STORE_NEWER: "What is kept here was written by a newer version. Reload to get it; your waiting changes are safe.",
  TOKEN_OF_ANOTHER_USER: "Another person is signed in. Nothing was sent under their name; sign in again as yourself.",
  TOKEN_UNAVAILABLE: "Signing in again did not work. Your changes are kept and will be sent after you sign in.",
  CLOCK_AHEAD: "This device's clock is ahead. Changes are sent all the same; set the clock right, as their times are off.",
  CORE_UNAVAILABLE: "A part of this page could not be loaded. What was saved is safe; connect and load the page again.",
  CORE_FAULT: "Something broke inside. What was saved is safe; reload the page.",
  OFFLINE: "This is on the server, which cannot be reached right now. Nothing is lost.",
  NOT_OPEN: "This is still opening. Try again in a moment.",
  CLOSED: "This was closed. What was saved is safe.",
  OUTBOX_FULL: "Too many changes wait to be sent. Nothing is lost; connect before you go on.",
  NO_SUCH_ROW: "This is not here, so it cannot be changed.",
  NOT_LOADED: "This text is long and not here yet. It comes as soon as the server answers.",
  NO_SCHEMA: "This device has not met the server yet. Connect once before you change anything.",
  ONLINE_ONLY: "This can only be made while connected, because the database gives it its name.",
  TOO_MANY_SUBSETS: "Too many lists are watched at once. Stop watching some.",
  TOO_MANY_ROWS: "Too many things are open at once. Close some.",
  NOT_COMPARABLE: "This list cannot be filtered or sorted in this way on a device.",
  ENTITY_TYPE_UNKNOWN: "This application asks for something that the server does not have for you. Nothing is lost.",
  NO_CONFLICT: "This was decided already.",
  NEWER: "It changed again since you looked. Look once more before you decide.",
  NOT_POSSIBLE: "This decision does not fit what happened.",
  NOT_AN_EXPORT: "This file holds no exported changes.",
  NOT_YOURS: "These changes are another person's, or another organisation's.",
  CONSTRAINT: "The database refused this change: it breaks one of its rules. What you typed is kept.",
  FIELD_FORBIDDEN: "You may not change this field. What you typed is kept.",
  FORBIDDEN: "You may not do this. What you typed is kept.",
  ENTITY_GONE: "Somebody deleted this meanwhile. What you typed is kept.",
  GIVEN_UP: "The server could not take this, again and again. What you typed is kept; you may try once more.",
  ROW_LEFT: "You may not see this any more. What you typed about it is kept.",
  ALREADY_EXISTS: "This exists already. What you typed is kept.",
  TRY_AGAIN: "The server cannot answer right now. Waiting changes are kept and will be sent once it can.",
  UNAUTHENTICATED: "You are signed out. Waiting changes are kept; sign in again to go on.",
  NOT_A_MEMBER: "You are not a member here any more. What others wrote was removed from this device; your changes are kept.",
};

/** Says in words for a person what a code means; the application may have its own. */
export function explain(code: string): string {
  return SENTENCES[code] ?? "Something went wrong. What was saved on this device is safe.";
}

/** The code of one of the machine's words: `outboxFull` is `OUTBOX_FULL`. */
export function codeOf(word: string): string {
  return word.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** The code of a reason why a save did not happen. */
export function storeCode(reason: string): string {
  return reason === "full" ? "STORE_FULL" : "STORE_UNAVAILABLE";
}
