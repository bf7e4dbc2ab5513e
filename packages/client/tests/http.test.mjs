// What goes to the server: addresses, the token, and what is read of an answer.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Http } from "../dist/http.js";

function recorded(answer = () => new Response("{}")) {
  const asked = [];
  const fetcher = async (url, init) => { asked.push({ url: String(url), ...init }); return answer(); };
  return { asked, http: new Http("https://host/under/", "a/b", fetcher) };
}

test("names in addresses are escaped, and the token is in a header and in no address", async () => {
  const { asked, http } = recorded();
  const signal = new AbortController().signal;
  await http.ask({ ask: "ids", entityType: "a b?", ids: ["x,y&z"] }, "secret", signal);
  await http.ask({ ask: "subset", entityType: "t", parameters: [["where[a][gte]", "1&2"]], after: null, limit: 5 }, "secret", signal);
  await http.open({ offset: 7, epoch: 1, access: "h x" }, "secret", signal);
  assert.deepEqual(asked.map(({ url }) => url), [
    "https://host/under/v1/orgs/a%2Fb/entities/a%20b%3F?ids=%5B%22x%2Cy%26z%22%5D",
    "https://host/under/v1/orgs/a%2Fb/entities/t?where%5Ba%5D%5Bgte%5D=1%262&limit=5",
    "https://host/under/v1/orgs/a%2Fb/live?live=sse&offset=7&epoch=1&access=h+x",
  ]);
  for (const { headers, redirect, credentials } of asked) {
    assert.deepEqual([headers.authorization, redirect, credentials], ["Bearer secret", "error", "omit"]);
  }
});

test("an id of several columns is handed on as the array that it is", async () => {
  const { asked, http } = recorded(() => new Response(JSON.stringify({ types: { pair: { key: ["a", "b"] }, odd: { key: ["a"] } } })));
  const signal = new AbortController().signal;
  await http.ask({ ask: "schema" }, "t", signal);
  await http.ask({ ask: "ids", entityType: "pair", ids: ['["1","2"]'] }, "t", signal);
  await http.ask({ ask: "ids", entityType: "odd", ids: ['["1","2"]'] }, "t", signal);
  const ids = asked.slice(1).map(({ url }) => new URL(url).searchParams.get("ids"));
  assert.deepEqual(ids, ['["1","2"]', JSON.stringify(['["1","2"]'])]);
});

test("what an answer says of time is read, as seconds or as a moment", async () => {
  const signal = new AbortController().signal;
  const date = "Sun, 06 Nov 1994 08:49:37 GMT";
  for (const [after, expected] of [["2", 2_000], ["Sun, 06 Nov 1994 08:49:40 GMT", 3_000], ["soon", null], ["", null]]) {
    const { http } = recorded(() => new Response("busy", { status: 503, headers: { date, "retry-after": after } }));
    const answer = await http.ask({ ask: "schema" }, "t", signal);
    assert.deepEqual(answer, { status: 503, retryAfterMs: expected, serverMs: 784_111_777_000, body: "busy" });
  }
});
