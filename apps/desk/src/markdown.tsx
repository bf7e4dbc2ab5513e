// Markdown as React elements: headings, lists, quotes, code, rules, emphasis and links.
// Laws: text stays text, since nothing is ever made of HTML; a link leads to http, https or mail and to nothing else; each
// character is looked at a bounded number of times, and what is nested too deep, or is too long, is shown as it was typed.

import { Fragment, type ReactNode } from "react";

/** Longer texts are shown as they were typed. */
const CHARS_MAX = 400_000;
/** A quote or an emphasis may hold others so deep. */
const DEPTH_MAX = 6;
/** A paragraph that is longer is shown without emphasis and links. */
const INLINE_CHARS_MAX = 20_000;

/** Shows a text. */
export function Markdown({ text }: { readonly text: string }): ReactNode {
  if (text.length > CHARS_MAX) return <p className="plain">{text}</p>;
  return <>{blocks(text.split(/\r\n|\r|\n/), 0)}</>;
}

/** One kind of block: whether a line begins or goes on with it, and what is made of its lines. */
interface Kind {
  readonly is: (line: string) => boolean;
  readonly make: (lines: readonly string[], depth: number) => ReactNode;
}

const FENCE = /^\s{0,3}```/;
const BULLET = /^\s{0,3}[-*+] /;
const NUMBER = /^\s{0,3}\d{1,9}[.)] /;
const HEADING = /^(#{1,6}) /;
const RULE = /^\s{0,3}(?:-{3,}|\*{3,}|_{3,})\s*$/;
const QUOTE = /^\s{0,3}> ?/;

const KINDS: readonly Kind[] = [
  { is: (line) => QUOTE.test(line), make: (lines, depth) => quote(lines, depth) },
  { is: (line) => BULLET.test(line) && !RULE.test(line), make: (lines) => <ul>{items(lines, BULLET)}</ul> },
  { is: (line) => NUMBER.test(line), make: (lines) => <ol start={first(lines)}>{items(lines, NUMBER)}</ol> },
];

function blocks(lines: readonly string[], depth: number): ReactNode[] {
  const made: ReactNode[] = [];
  let at = 0;
  const take = (node: ReactNode) => made.push(<Fragment key={made.length}>{node}</Fragment>);
  while (at < lines.length) {
    const line = lines[at] as string;
    const kind = KINDS.find(({ is }) => is(line));
    let end = at + 1;
    if (line.trim() === "") { at = end; continue; }
    if (FENCE.test(line)) {
      while (end < lines.length && !FENCE.test(lines[end] as string)) end += 1;
      take(<pre tabIndex={0}><code>{lines.slice(at + 1, end).join("\n")}</code></pre>);
      at = end + 1;
      continue;
    }
    if (kind) while (end < lines.length && kind.is(lines[end] as string)) end += 1;
    else if (!alone(line)) while (end < lines.length && goesOn(lines[end] as string)) end += 1;
    const own = lines.slice(at, end);
    take(kind ? kind.make(own, depth) : single(own));
    at = end;
  }
  return made;
}

/** Whether a line is a block of its own. */
function alone(line: string): boolean {
  return HEADING.test(line) || RULE.test(line);
}

/** Whether a line goes on with the paragraph before it. */
function goesOn(line: string): boolean {
  return line.trim() !== "" && !alone(line) && !FENCE.test(line) && !KINDS.some(({ is }) => is(line));
}

function single(lines: readonly string[]): ReactNode {
  const [line = ""] = lines;
  if (RULE.test(line)) return <hr />;
  const heading = HEADING.exec(line);
  if (heading) {
    // The page's own title is the heading above all of these.
    const Level = `h${Math.min(6, (heading[1] as string).length + 2)}` as "h3" | "h4" | "h5" | "h6";
    return <Level>{inline(line.slice(heading[0].length), 0)}</Level>;
  }
  return <p>{lines.map((one, at) => <Fragment key={at}>{at > 0 ? "\n" : null}{inline(one, 0)}</Fragment>)}</p>;
}

function quote(lines: readonly string[], depth: number): ReactNode {
  if (depth >= DEPTH_MAX) return <p className="plain">{lines.join("\n")}</p>;
  return <blockquote>{blocks(lines.map((line) => line.replace(QUOTE, "")), depth + 1)}</blockquote>;
}

function items(lines: readonly string[], mark: RegExp): ReactNode[] {
  return lines.map((line, at) => <li key={at}>{inline(line.replace(mark, ""), 0)}</li>);
}

function first(lines: readonly string[]): number {
  return Number.parseInt(lines[0] ?? "1", 10);
}

/** One piece in a line: code, strong, emphasised, struck out, a link, or an address. */
const PIECE = /`([^`\n]{1,1000})`|\*\*([^*\n]{1,1000})\*\*|\*([^*\n]{1,1000})\*|~~([^~\n]{1,1000})~~|\[([^[\]\n]{1,300})\]\(([^()\s]{1,1000})\)|\b(https?:\/\/[^\s<>"'`]{1,1000})/g;

function inline(text: string, depth: number): ReactNode[] {
  if (depth >= DEPTH_MAX || text.length > INLINE_CHARS_MAX) return [text];
  const made: ReactNode[] = [];
  let from = 0;
  for (const found of text.matchAll(PIECE)) {
    if (found.index > from) made.push(text.slice(from, found.index));
    made.push(<Fragment key={found.index}>{piece(found, depth + 1)}</Fragment>);
    from = found.index + found[0].length;
  }
  made.push(text.slice(from));
  return made;
}

function piece(found: RegExpMatchArray, depth: number): ReactNode {
  const [all, code, strong, emphasised, struck, label, target, address] = found;
  if (code !== undefined) return <code>{code}</code>;
  if (strong !== undefined) return <strong>{inline(strong, depth)}</strong>;
  if (emphasised !== undefined) return <em>{inline(emphasised, depth)}</em>;
  if (struck !== undefined) return <s>{struck}</s>;
  if (address !== undefined) return link(address, address) ?? all;
  return link(target ?? "", label ?? "") ?? all;
}

/** A link out of Desk; null where the address is none that a page of words may lead to. */
function link(target: string, label: string): ReactNode {
  const url = URL.canParse(target) ? new URL(target) : null;
  if (!url || !["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return <a href={url.href} target="_blank" rel="noopener noreferrer nofollow">{label}</a>;
}
