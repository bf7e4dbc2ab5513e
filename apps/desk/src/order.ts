// Where a row stands among others: a text that is between those of its neighbours, compared by bytes.
// Law: a move is one edit of one row, so there is nearly always a key between two; a key that is made here never ends
// with the lowest digit, so that there is room before it. Where there is none, or keys are equal, the lower one counts.

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ZERO = "0";

/** A key between two others; null is an open end. */
export function between(before: string | null, after: string | null): string {
  const low = before ?? "";
  const key = after !== null && after > low ? middle(low, after) : middle(low, null);
  const fits = key > low && (after === null || after <= low || key < after);
  return fits ? key : `${low}V`;
}

/** The key for a row that is put at a place of a list which does not hold it. */
export function keyAt(rows: readonly { readonly position: string | null }[], place: number): string {
  return between(rows[place - 1]?.position ?? null, rows[place]?.position ?? null);
}

function middle(low: string, high: string | null): string {
  if (high !== null) {
    let same = 0;
    while (same < high.length && (low.charAt(same) || ZERO) === high.charAt(same)) same += 1;
    if (same > 0) return high.slice(0, same) + (same < high.length ? middle(low.slice(same), high.slice(same)) : "");
  }
  const from = low === "" ? 0 : digit(low.charAt(0));
  const to = high === null ? DIGITS.length : digit(high.charAt(0));
  if (to - from > 1) return DIGITS.charAt(Math.floor((from + to) / 2));
  if (high !== null && high.length > 1) return high.charAt(0);
  return DIGITS.charAt(from) + middle(low.slice(1), null);
}

/** What a character stands for; one that is none of ours counts as the nearest below. */
function digit(character: string): number {
  const exact = DIGITS.indexOf(character);
  return exact >= 0 ? exact : Math.max(0, [...DIGITS].filter((one) => one < character).length - 1);
}
