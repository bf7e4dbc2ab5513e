// The place of a browser test: the real server with its Postgres, a site before it, and a Chromium, with what tests ask
// of them. Law: each test file has a place of its own; what a test opened or did to the network ends with the test.

import assert from "node:assert/strict";

import { findChromium, openPage, startChromium, startDev } from "./browser.mjs";
import { findSdk, startSite } from "./site.mjs";

const DEADLINE_MS = 30_000;

/** Why these tests cannot run here, or false. */
export function whyNot() {
  return findChromium() && findSdk() ? false : "needs Chromium and the built SDK";
}

/** Polls a condition of this side up to a deadline. */
export async function until(condition) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `it never came true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function tokenOf(server, user) {
  const token = server.info.tokens[user];
  return typeof token === "function" ? token() : token;
}

/**
 * Starts everything; `stop` ends it, `tidy` what a test left. `own` starts a server of its own, which the site is of;
 * `options` are those of `antiphon dev`, `pages` files of the site beside its own.
 */
export async function startPlace({ own, options = [], pages } = {}) {
  const [dev, chromium] = await Promise.all([startDev(...options), startChromium(findChromium())]);
  const opened = [];
  /** Writes past everything, as another application would. */
  const sql = async (...texts) => {
    for (const text of texts) {
      const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
      const answer = await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql: text }) });
      assert.equal(answer.status, 200, await answer.text());
    }
  };
  const server = (await own?.({ dev, sql })) ?? dev;
  const site = await startSite(server.info, pages);
  return {
    dev,
    server,
    chromium,
    site,
    sql,
    /** A row as the server has it now. */
    async onServer(entityType, id, user = "alice") {
      const headers = { authorization: `Bearer ${tokenOf(server, user)}` };
      const answer = await fetch(`${server.info.api}/v1/orgs/acme/entities/${entityType}/${id}`, { headers });
      return answer.ok ? (await answer.json()).data : undefined;
    },
    /** A value that is too long to come with its row. */
    async fieldOnServer(entityType, id, field, user = "alice") {
      const headers = { authorization: `Bearer ${tokenOf(server, user)}` };
      const answer = await fetch(`${server.info.api}/v1/orgs/acme/entities/${entityType}/${id}/fields/${field}`, { headers });
      return answer.ok ? (await answer.json()).value : undefined;
    },
    /** Opens the site in a tab, and waits until its page is so far; `first` runs before the page's own scripts. */
    async open(name, { query = "", ready = "window.shown?.complete", first = "" } = {}) {
      const page = await openPage(chromium, site.url(name) + query, 1280, first);
      opened.push(page);
      await page.until(ready);
      return page;
    },
    async tidy() {
      site.mendNetwork();
      await Promise.all(opened.splice(0).map((page) => page.close().catch(() => undefined)));
    },
    async stop() {
      await chromium.stop();
      await site.stop();
      if (server !== dev) await server.stop();
      await dev.stop();
    },
  };
}
