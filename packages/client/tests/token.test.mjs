// The token: when it is asked for, and whose it may be.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Token } from "../dist/token.js";

const jwt = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;

test("many who need a token at once ask once, and a refused one is asked for anew sdk_01", async () => {
  let asked = 0;
  const token = new Token(async () => { asked += 1; return `ant_${asked}`; }, "alice");
  assert.deepEqual(await Promise.all([token.current(), token.current()]), ["ant_1", "ant_1"]);
  token.refuse("ant_1");
  assert.equal(await token.current(), "ant_2");
  token.refuse("ant_1");
  assert.equal(await token.current(), "ant_2", "a late refusal of an old one says nothing of the new one");
});

test("a token is replaced before it ends, and a clock that is years ahead does not ask for ever sdk_01", async () => {
  const seconds = Math.floor(Date.now() / 1000);
  const tokens = [jwt({ sub: "älice", exp: seconds + 31 }), jwt({ sub: "älice", exp: seconds - 315_360_000 })];
  let asked = 0;
  const token = new Token(() => tokens[Math.min(asked++, 1)], "älice");
  await token.current();
  token.refuse();
  await token.current();
  await token.current();
  assert.equal(asked, 2);
});

test("a token of another user is never used core_18", async () => {
  const token = new Token(() => jwt({ sub: "bob" }), "alice");
  await assert.rejects(token.current(), { code: "TOKEN_OF_ANOTHER_USER" });
});

test("a provider that fails is asked again the next time", async () => {
  let asked = 0;
  const token = new Token(() => { asked += 1; if (asked === 1) throw new Error("no network"); return "ant_1"; }, "alice");
  await assert.rejects(token.current(), /no network/);
  assert.equal(await token.current(), "ant_1");
});
