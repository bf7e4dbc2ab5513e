// JSON taken apart without being read: what it holds stays as it is written.
// Law: a number keeps its digits; JavaScript's own numbers would round what a `jsonb` column may hold. It refuses to say
// whether the text is JSON: whoever reads the part finds out.

const MARKS = /["{}[\],]/g;

/** What an object or an array holds, each part as it is written; undefined where its end is missing. */
export function partsOf(text: string): string[] | undefined {
  const marks = new RegExp(MARKS);
  const parts: string[] = [];
  let [depth, from] = [0, 0];
  for (let mark = marks.exec(text); mark; mark = marks.exec(text)) {
    const at = mark.index;
    if (mark[0] === "\"") {
      const end = endOfString(text, at);
      if (end === undefined) return undefined;
      marks.lastIndex = end + 1;
    } else if (mark[0] === "{" || mark[0] === "[") {
      depth += 1;
      if (depth === 1) from = at + 1;
    } else {
      const ends = mark[0] !== ",";
      if (depth === 1) {
        const part = text.slice(from, at).trim();
        if (part !== "") parts.push(part);
        from = at + 1;
      }
      if (ends) depth -= 1;
      if (depth === 0) return parts;
    }
  }
  return undefined;
}

/** An object's members by name, each value as it is written. */
export function membersOf(text: string): Map<string, string> {
  const members = new Map<string, string>();
  for (const part of partsOf(text) ?? []) {
    const end = endOfString(part, 0);
    if (end !== undefined) members.set(part.slice(1, end), part.slice(end + 1).replace(/^\s*:\s*/, ""));
  }
  return members;
}

function endOfString(text: string, start: number): number | undefined {
  for (let at = text.indexOf("\"", start + 1); at >= 0; at = text.indexOf("\"", at + 1)) {
    let before = at - 1;
    while (text[before] === "\\") before -= 1;
    if ((at - before) % 2 === 1) return at;
  }
  return undefined;
}
