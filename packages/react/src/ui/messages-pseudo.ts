// A language for tests: English, longer and with marks, so that a text that was not taken from the catalogue, or a place
// that is too narrow, is seen. Law: places in braces stay as they are.

import { english } from "./messages-en.js";
import type { Catalogue, Message } from "./messages.js";

const MARKED: Readonly<Record<string, string>> = {
  a: "á", c: "ç", e: "é", i: "í", n: "ñ", o: "ö", s: "š", u: "ü", y: "ý", A: "Å", C: "Ç", E: "É", I: "Î", N: "Ñ", O: "Ö", S: "Š", U: "Û",
};

/** Marks a text, and makes it two fifths longer. */
export function pseudo(text: string): string {
  const marked = text.split(/(\{\w+\})/).map((part) => (
    part.startsWith("{") ? part : [...part].map((letter) => MARKED[letter] ?? letter).join("")));
  const longer = "·".repeat(Math.ceil(text.length * 0.4 / 2)).split("").join(" ");
  return `⟦${marked.join("")} ${longer}⟧`;
}

/** Marks a text in all of its forms, for the texts of an application. */
export function pseudoMessage(message: Message): Message {
  if (typeof message === "string") return pseudo(message);
  return Object.fromEntries(Object.entries(message).map(([rule, text]) => [rule, pseudo(text)])) as unknown as Message;
}

/** The pseudo-locale, written from left to right or from right to left. */
export function pseudoCatalogue(direction: "ltr" | "rtl" = "ltr"): Catalogue {
  const marked = Object.entries(english as Readonly<Record<string, Message>>).map(([key, message]) => [key, pseudoMessage(message)]);
  return { locale: "en", direction, messages: Object.fromEntries(marked) as Catalogue["messages"] };
}
