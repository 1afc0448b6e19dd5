// SPDX-License-Identifier: MIT
// The daemon's pages in a real browser: node web.mjs WEB-URL-FILE SERVER-URL [FOLDER]
// Needs npm's playwright-core and axe-core and Debian's chromium; 'serve' runs with
// --web-port and --web-edit over one rule whose time-taken is longer than 500ms, and watches
// the server, whose /slow?ms=N takes N ms. With a FOLDER, pictures of each page go there.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import assert from 'node:assert/strict';

const require = createRequire(process.cwd() + '/');
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const [urlFile, server, folder] = process.argv.slice(2);
const url = readFileSync(urlFile, 'utf8').trim(), origin = new URL(url).origin, port = new URL(url).port;
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium',
	args: ['--no-sandbox', `--host-resolver-rules=MAP rebound.example 127.0.0.1`] });
const pages = ['/', '/incidents', '/incidents?group=1', '/rules', '/rules/edit'];
let faults = 0;

const said = (text) => console.log(`ok ${text}`);

// edit a rule and see it fire
const user = await browser.newContext();
const tab = await user.newPage();
const errors = [];
tab.on('console', (m) => m.type() === 'error' && errors.push(m.text()));
await tab.goto(url);
assert.equal(tab.url(), origin + '/', 'the token stays in the address');
await tab.goto(origin + '/rules/edit');
const text = await tab.locator('#text').inputValue();
await tab.locator('#text').fill(text.replace(/time-taken *= *\S+/, 'time-taken = 250ms'));
await tab.getByRole('button', { name: 'Check' }).click();
await tab.getByText('No mistakes').waitFor();
await tab.getByText('What changes').waitFor();
await tab.getByLabel('URL').fill('/slow');
await tab.getByLabel('time taken').fill('1s');
await tab.getByRole('button', { name: 'Test' }).click();
await tab.getByText('fires').first().waitFor();
await tab.getByRole('button', { name: 'Save and put in force' }).click();
await tab.waitForURL('**/rules');
await tab.goto(origin + '/');
const slow = fetch(server + '/slow?ms=4000');
await tab.getByText('/slow?ms=***').first().waitFor({ timeout: 8000 }); // by the script, without a reload
said('the live list shows a request that came later');
await slow;
await tab.goto(origin + '/incidents');
await tab.getByRole('link', { name: '/slow' }).first().click();
await tab.waitForURL('**/report.html');
await tab.getByText('slept in').first().waitFor();
said('a rule changed in the page fires, and its incident has a page');
assert.deepEqual(errors, []);

// without script all of it can be read
const plain = await (await browser.newContext({ javaScriptEnabled: false })).newPage();
await plain.goto(url);
for (const p of pages)
	assert.ok((await plain.goto(origin + p)).ok(), p);
assert.ok(await plain.getByText('/slow').first().count() >= 0);
said('every page without script');

// a name that was made to point here
const rebound = await (await browser.newContext()).newPage();
assert.equal((await rebound.goto(`http://rebound.example:${port}/?token=${new URL(url).searchParams.get('token')}`)).status(), 421);
said('DNS rebinding is refused');

// another site's page, in a browser that has the token's cookie
const evil = createServer((_, reply) => {
	reply.setHeader('Content-Type', 'text/html');
	reply.end(`<form id=f method=post action="${origin}/rules/edit"><input name=do value=save><input name=text value=x></form>`);
}).listen(0, '127.0.0.1');
await new Promise((done) => evil.once('listening', done));
const foreign = await user.newPage();
await foreign.goto(`http://127.0.0.1:${evil.address().port}/`);
const [reply] = await Promise.all([foreign.waitForNavigation(), foreign.evaluate(() => document.getElementById('f').submit())]);
assert.ok([401, 403].includes(reply.status()), `a form of another site: ${reply.status()}`);
await foreign.goto(`http://127.0.0.1:${evil.address().port}/`); // the reply stood on a page of ours
const read = await foreign.evaluate((o) => fetch(o + '/api/incidents', { credentials: 'include' }).then((r) => r.text(), () => 'refused'), origin);
assert.ok(!read.includes('incidents'), 'read by another site');
evil.close();
said('requests of another site are refused');

for (const colorScheme of ['light', 'dark']) {
	for (const width of [1200, 380]) {
		const context = await browser.newContext({ colorScheme, bypassCSP: true, viewport: { width, height: 900 } });
		const page = await context.newPage();

		await page.goto(url);
		for (const p of pages) {
			await page.goto(origin + p);
			await page.evaluate(axe);
			for (const v of (await page.evaluate(() => axe.run())).violations) {
				console.log(`${p} ${colorScheme} ${width}: ${v.impact}: ${v.id}: ${v.help}: ${v.nodes[0].html.slice(0, 120)}`);
				faults += v.impact === 'serious' || v.impact === 'critical';
			}
			const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
			if (wide > 0) { console.log(`${p} ${width}: ${wide} px too wide`); faults++; }
			if (folder)
				await page.screenshot({ path: `${folder}/${colorScheme}-${width}${p.replace(/\W/g, '_')}.png`, fullPage: true });
		}
	}
}
await browser.close();
console.log(`${faults} serious faults`);
process.exitCode = faults ? 1 : 0;
