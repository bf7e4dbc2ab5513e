// A server of its own over a new table, beside `antiphon dev` and in its Postgres: what the demonstration has not, such
// as a large type kept in parts, rules on reading, and tokens of an identity provider that end.

import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { binary, startProgram } from "./browser.mjs";
import { until } from "./place.mjs";

const SECRET = "a secret of the browser tests, long enough for HS256";

/** Signs a token of `user` that ends after `seconds`, as an identity provider does. */
export function jwt(user, seconds) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: user, iss: "browser-tests", aud: "antiphon", iat: now, exp: now + seconds };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** Starts a server over `table`, whose section of the configuration ends with `settings`; `people` have a role each. */
export async function startOwn(dev, table, settings, people = { alice: "owner", bob: "member" }) {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-own-"));
  const name = `own_${table}`;
  const env = { ...process.env, XDG_STATE_HOME: folder, ANTIPHON_DATABASE_SLOT: name, ANTIPHON_DATABASE_PUBLICATION: name };
  const options = { env, cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] };
  const operate = (...words) => JSON.parse(execFileSync(binary(), [...words, "--json"], options));
  const url = dev.info.databaseUrl;
  operate("init", "--database-url", url, "--log-url", url.replace(/[^/]*$/, name), "--table", `public.${table}`,
    "--org", "organization_id", "--yes");
  const file = join(folder, "antiphon.toml");
  const auth = `\n[auth]\nsecret = "${SECRET}"\nalgorithms = ["HS256"]\nissuer = "browser-tests"\naudience = "antiphon"\n`;
  writeFileSync(file, `${readFileSync(file, "utf8")}${settings}${auth}`);
  // Rules that look at a row have to know what it was before.
  if (settings.includes("rules")) operate("entities", "add", table.replace(/s$/, ""), "--identity", "full", "--yes");
  for (const [user, role] of Object.entries(people)) {
    operate("users", "create", user);
    operate("users", "join", user, "--org", "acme", "--role", role);
  }
  const running = await startProgram(["serve", "--json", "--listen", "127.0.0.1:0"], env, folder);
  const { api } = running.info;
  // Lists are answered once capture has begun.
  await until(async () => (await fetch(`${api}/readyz`)).ok);
  const tokens = Object.fromEntries(Object.keys(people).map((user) => [user, () => jwt(user, 3_600)]));
  const stop = async () => {
    await running.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { info: { api, tokens }, file, operate, stop };
}
