// A smoke run in the two other engines: the ten lines of the guide, and an edit that is made offline, survives a reload
// and arrives.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startDev } from "./browser.mjs";
import { findSdk, startSite } from "./site.mjs";
import { findFirefox, findWebKit, startFirefox, startWebKit } from "./webdriver.mjs";

const PAGE_ID = "00000000-0000-4001-8001-000000000001";
const built = findSdk();
let dev;
let site;

async function sql(text) {
  const headers = { authorization: `Bearer ${dev.info.tokens.admin}`, "content-type": "application/json" };
  const answer = await fetch(`${dev.info.api}/dev/sql`, { method: "POST", headers, body: JSON.stringify({ sql: text }) });
  assert.equal(answer.status, 200);
}

async function titleAtServer() {
  const headers = { authorization: `Bearer ${dev.info.tokens.alice}` };
  const answer = await fetch(`${dev.info.api}/v1/orgs/acme/entities/page/${PAGE_ID}`, { headers });
  return (await answer.json()).data.title;
}

for (const [name, find, start] of [["Firefox", findFirefox, startFirefox], ["WebKitGTK", findWebKit, startWebKit]]) {
  const found = find();
  const skip = found && built ? false : `needs ${name} and the built SDK`;

  describe(name, { skip }, () => {
    let page;

    before(async () => {
      dev ??= await startDev();
      site ??= await startSite(dev.info);
      page = await start(found);
    });

    after(() => page?.stop());

    test(`${name}: the ten lines show live rows sdk_05`, async () => {
      await page.go(`${dev.info.api}/sdk/list.html`);
      await page.until("document.querySelectorAll('#list li').length > 5");
      await sql(`insert into pages(id, organization_id, title) values (gen_random_uuid(), 'acme', 'told to ${name}')`);
      await page.until(`[...document.querySelectorAll('#list li')].some((item) => item.textContent === 'told to ${name}')`);
    });

    test(`${name}: an edit made offline survives a reload and converges sy_59`, async () => {
      await page.go(site.url(name.toLowerCase()));
      await page.until("window.shown?.complete && acme.status.connection === 'online'");
      assert.deepEqual(await page.evaluate("[acme.status.storage, acme.status.leading]"), ["device", true]);
      site.cutNetwork();
      await page.until("acme.status.connection !== 'online'");
      await page.evaluate(`pages.update('${PAGE_ID}', { title: 'typed offline in ${name}' }).saved`);
      await page.reload();
      await page.until(`window.pages?.get('${PAGE_ID}')?.title === 'typed offline in ${name}'`);
      assert.equal(await page.evaluate("acme.status.pending"), 1);
      await sql(`update pages set body = 'by others, for ${name}' where id = '${PAGE_ID}'`);
      site.mendNetwork();
      await page.until(`acme.status.pending === 0 && pages.get('${PAGE_ID}').body === 'by others, for ${name}'`);
      assert.equal(await titleAtServer(), `typed offline in ${name}`);
    });
  });
}

after(async () => {
  await site?.stop();
  await dev?.stop();
});
