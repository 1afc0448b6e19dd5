// SPDX-License-Identifier: MIT
// axe-core over pages: node axe.mjs PAGE.html... Exit code 1: a serious fault was found.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { readFileSync } from 'node:fs';

const require = createRequire(process.cwd() + '/');
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
let serious = 0, looks = 0;

for (const page of process.argv.slice(2)) {
	for (const colorScheme of ['light', 'dark']) {
		for (const width of [1200, 380]) {
			// bypassCSP: the page's policy forbids every script, axe's too
			const context = await browser.newContext({ colorScheme, bypassCSP: true, viewport: { width, height: 900 } });
			const tab = await context.newPage();
			const fetched = [];
			tab.on('request', (r) => { if (!r.url().startsWith('file://')) fetched.push(r.url()); });
			await tab.goto('file://' + resolve(page));
			await tab.evaluate(() => document.querySelectorAll('details').forEach((d) => { d.open = true; }));
			await tab.evaluate(axe);
			const result = await tab.evaluate(() => axe.run());
			looks++;
			for (const v of result.violations) {
				console.log(`${page} ${colorScheme} ${width}: ${v.impact}: ${v.id}: ${v.help} (${v.nodes.length}: ${v.nodes[0].html.slice(0, 150)})`);
				serious += v.impact === 'serious' || v.impact === 'critical';
			}
			const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
			if (wide > 0 || fetched.length) { console.log(`${page} ${width}: ${wide} px too wide, fetched ${fetched}`); serious++; }
			await context.close();
		}
	}
}
await browser.close();
console.log(`${looks} looks, ${serious} serious`);
process.exit(serious || !looks ? 1 : 0);
