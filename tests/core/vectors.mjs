// Judges a face by the conformance vectors, in Node and in a page alike; nothing of either is used here.
// Laws: every step is judged and none is repaired; an answer is compared as a whole document, where the order of members
// says nothing; a number that JavaScript cannot hold exactly is refused, since it would be compared as its neighbour.

/** Makes a file's calls on new faces; returns each difference, and how many scenarios and steps were judged. */
export function judge(newFace, file, text) {
  const differences = [];
  const vector = JSON.parse(text);
  if (vector.format !== 1) return { differences: [`${file}: format ${vector.format} is not known`], scenarios: 0, steps: 0 };
  let steps = 0;
  for (const [number, loose] of inexact(vector)) differences.push(`${file}: ${number} at ${loose} cannot be compared`);
  for (const { claim, steps: own } of vector.scenarios) {
    const face = newFace();
    for (const [place, { call, expect }] of [...(vector.begin ?? []), ...own].entries()) {
      steps += 1;
      const answer = legible(JSON.parse(face.call(JSON.stringify(call))));
      const where = difference(answer, expect, "");
      if (where) differences.push(`${file}: ${claim}: step ${place} (${call.do}): ${where}`);
    }
  }
  return { differences, scenarios: vector.scenarios.length, steps };
}

/** Puts the document in the place of its text, in requests and saves, as the vectors hold it. */
function legible(answer) {
  for (const output of answer.outputs ?? []) {
    if (output.request?.body !== undefined) output.request.body = document(output.request.body);
    for (const write of output.writes ?? []) if (write.put) write.put[1] = document(write.put[1]);
  }
  return answer;
}

function document(text) {
  if (typeof text !== "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Says where two documents differ first, or nothing. */
export function difference(is, expected, path) {
  if (Object.is(is, expected)) return undefined;
  const both = [is, expected];
  if (both.some((value) => value === null || typeof value !== "object") || Array.isArray(is) !== Array.isArray(expected)) {
    return `${path || "/"} is ${JSON.stringify(is)}, and not ${JSON.stringify(expected)}`;
  }
  for (const name of new Set(both.flatMap(Object.keys))) {
    const found = both.map((value) => Object.hasOwn(value, name));
    if (!found[0] || !found[1]) return `${path}/${name} is ${found[0] ? "too much" : "missing"}`;
    const where = difference(is[name], expected[name], `${path}/${name}`);
    if (where) return where;
  }
  return undefined;
}

function* inexact(value, path = "") {
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) yield [value, path];
  if (value === null || typeof value !== "object") return;
  for (const [name, inner] of Object.entries(value)) yield* inexact(inner, `${path}/${name}`);
}
