// What is on the server alone: how it is asked for, and what is said where it cannot be had.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Past } from "../dist/past.js";
import { Token } from "../dist/token.js";

function asking(...answers) {
  const asked = [];
  let tokens = 0;
  const token = new Token(async () => { tokens += 1; return `ant_${tokens}`; }, "alice");
  const fetcher = async (url, init) => {
    asked.push({ url: String(url), ...init });
    const answer = answers.shift();
    if (answer === undefined) throw new TypeError("no network");
    return new Response(JSON.stringify(answer.body ?? {}), { status: answer.status ?? 200 });
  };
  return { asked, past: new Past({ url: "https://host/", org: "a/b", token, fetch: fetcher }) };
}

test("history, deleted rows and long values are asked for with escaped names and the token in a header sdk_02 desk_01", async () => {
  const page = { items: [], next: null };
  const { asked, past } = asking({ body: page }, { body: page }, { body: { field: "b", value: "long" } });
  assert.deepEqual(await past.history("p t", "x/y?", 7, 5), page);
  await past.deleted("page", null, 20);
  assert.equal(await past.field("page", '["1","2"]', "b&c"), "long");
  assert.deepEqual(asked.map(({ url }) => url), [
    "https://host/v1/orgs/a%2Fb/entities/p%20t/x%2Fy%3F/history?limit=5&before=7",
    "https://host/v1/orgs/a%2Fb/entities/page/deleted?limit=20",
    "https://host/v1/orgs/a%2Fb/entities/page/%5B%221%22%2C%222%22%5D/fields/b%26c",
  ]);
  for (const { headers, redirect, credentials } of asked) {
    assert.deepEqual([headers.authorization, redirect, credentials], ["Bearer ant_1", "error", "omit"]);
  }
});

test("a token that is refused is asked for anew once, and what the server refuses is told by its code desk_01", async () => {
  const { asked, past } = asking({ status: 401 }, { body: { items: [], next: null } }, { status: 404, body: { code: "NOT_FOUND" } }, { status: 502 });
  await past.history("page", "1", null, 5);
  assert.deepEqual(asked.map(({ headers }) => headers.authorization), ["Bearer ant_1", "Bearer ant_2"]);
  await assert.rejects(past.history("page", "1", null, 5), { code: "NOT_FOUND" });
  await assert.rejects(past.history("page", "1", null, 5), { code: "TRY_AGAIN" });
});

test("without a network it is told so, and nothing is made up desk_01", async () => {
  await assert.rejects(asking().past.deleted("page", null, 5), { code: "OFFLINE" });
});
