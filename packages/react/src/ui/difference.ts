// How one text became another, by words, for showing it.
// Laws: what is kept and added is the later text, what is kept and removed the earlier one, to the letter; the cost is
// bounded: texts that differ in too much are not compared, and that is said. Merging is not done here: the core does it.

/** One run of a comparison. */
export interface Run {
  readonly kind: "kept" | "added" | "removed";
  readonly text: string;
}

/** How one text became another. */
export interface Difference {
  readonly runs: readonly Run[];
  readonly wordsAdded: number;
  readonly wordsRemoved: number;
}

/** Texts above this many characters together are not compared. */
const CHARACTERS_MAX = 200_000;
/** So many insertions and removals are looked for: the cost grows with the square. */
const EDITS_MAX = 600;

interface Token {
  readonly text: string;
  readonly isWord: boolean;
}

/** Compares two texts; undefined where they differ in too much. */
export function differenceOf(before: string, after: string): Difference | undefined {
  if (before.length + after.length > CHARACTERS_MAX) return undefined;
  const [one, other] = [tokensOf(before), tokensOf(after)];
  let start = 0;
  while (start < one.length && start < other.length && one[start]!.text === other[start]!.text) start += 1;
  let end = 0;
  const isSame = () => one[one.length - 1 - end]?.text === other[other.length - 1 - end]?.text;
  while (end < one.length - start && end < other.length - start && isSame()) end += 1;
  const middle = edits(one.slice(start, one.length - end), other.slice(start, other.length - end));
  if (!middle) return undefined;
  const kept = (tokens: readonly Token[]): Edit[] => tokens.map((token) => ({ kind: "kept", token }));
  const all = calm([...kept(one.slice(0, start)), ...middle, ...kept(one.slice(one.length - end))]);
  const words = (kind: Run["kind"]) => all.filter((edit) => edit.kind === kind && edit.token.isWord).length;
  return { runs: runsOf(all), wordsAdded: words("added"), wordsRemoved: words("removed") };
}

interface Edit {
  readonly kind: Run["kind"];
  readonly token: Token;
}

/** Texts are cut into words in parts of about this many characters: some browsers take a square of the length. */
const PART = 1_000;
const SPACE = /\s/g;

let segmenter: Intl.Segmenter | undefined;

function tokensOf(text: string): Token[] {
  // Where words end, is nearly the same in every language, and that of a text is not known.
  const words = (segmenter ??= new Intl.Segmenter(undefined, { granularity: "word" }));
  return partsOf(text).flatMap((part) => (
    [...words.segment(part)].map(({ segment, isWordLike }) => ({ text: segment, isWord: isWordLike ?? false }))));
}

/** Cuts a text at spaces, or anywhere between two characters where there is none for long. */
function partsOf(text: string): string[] {
  const parts: string[] = [];
  for (let start = 0; start < text.length;) {
    SPACE.lastIndex = start + PART;
    const space = SPACE.exec(text)?.index ?? text.length;
    let end = Math.min(space, start + 2 * PART, text.length);
    if (/[\ud800-\udbff]/.test(text.charAt(end - 1)) && end < text.length) end += 1;
    parts.push(text.slice(start, end));
    start = end;
  }
  return parts;
}

/** The shortest way from one to the other (Myers 1986); undefined where it is too long. */
function edits(one: readonly Token[], other: readonly Token[]): Edit[] | undefined {
  const reached = new Map<number, number>([[1, 0]]);
  const trail: Map<number, number>[] = [];
  const most = Math.min(one.length + other.length, EDITS_MAX);
  for (let steps = 0; steps <= most; steps += 1) {
    trail.push(new Map([...reached].filter(([diagonal]) => Math.abs(diagonal) <= steps)));
    for (let diagonal = -steps; diagonal <= steps; diagonal += 2) {
      let x = comesFromAbove(reached, diagonal, steps) ? reached.get(diagonal + 1)! : reached.get(diagonal - 1)! + 1;
      let y = x - diagonal;
      while (x < one.length && y < other.length && one[x]!.text === other[y]!.text) [x, y] = [x + 1, y + 1];
      reached.set(diagonal, x);
      if (x >= one.length && y >= other.length) return walkBack(one, other, trail);
    }
  }
  return undefined;
}

function comesFromAbove(reached: ReadonlyMap<number, number>, diagonal: number, steps: number): boolean {
  if (diagonal === -steps) return true;
  return diagonal !== steps && (reached.get(diagonal - 1) ?? -1) < (reached.get(diagonal + 1) ?? -1);
}

function walkBack(one: readonly Token[], other: readonly Token[], trail: readonly ReadonlyMap<number, number>[]): Edit[] {
  const found: Edit[] = [];
  let [x, y] = [one.length, other.length];
  for (let steps = trail.length - 1; steps >= 0; steps -= 1) {
    const reached = trail[steps]!;
    const diagonal = x - y;
    const before = comesFromAbove(reached, diagonal, steps) ? diagonal + 1 : diagonal - 1;
    const fromX = reached.get(before) ?? 0;
    const fromY = fromX - before;
    while (x > Math.max(fromX, 0) && y > Math.max(fromY, 0)) {
      [x, y] = [x - 1, y - 1];
      found.push({ kind: "kept", token: one[x]! });
    }
    if (steps === 0) break;
    if (x === fromX) found.push({ kind: "added", token: other[y - 1]! });
    else found.push({ kind: "removed", token: one[x - 1]! });
    [x, y] = [fromX, fromY];
  }
  return found.reverse();
}

/** A space that was kept between two changed words says nothing: both runs take it in, so that a phrase stays one. */
function calm(all: readonly Edit[]): Edit[] {
  const calmed = all.flatMap((edit, index): Edit[] => {
    const isLonely = edit.kind === "kept" && edit.token.text.trim() === ""
      && index > 0 && all[index - 1]!.kind !== "kept" && index + 1 < all.length && all[index + 1]!.kind !== "kept";
    return isLonely ? [{ kind: "removed", token: edit.token }, { kind: "added", token: edit.token }] : [edit];
  });
  // Within one stretch of changes, what is removed comes before what is added.
  const sorted: Edit[] = [];
  let added: Edit[] = [];
  for (const edit of calmed) {
    if (edit.kind === "added") { added.push(edit); continue; }
    if (edit.kind === "kept") { sorted.push(...added); added = []; }
    sorted.push(edit);
  }
  return [...sorted, ...added];
}

function runsOf(all: readonly Edit[]): Run[] {
  const runs: { kind: Run["kind"]; text: string }[] = [];
  for (const { kind, token } of all) {
    const last = runs.at(-1);
    if (last?.kind === kind) last.text += token.text;
    else runs.push({ kind, text: token.text });
  }
  return runs;
}
