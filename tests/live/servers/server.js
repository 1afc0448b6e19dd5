// SPDX-License-Identifier: MIT
// The same paths as server.py, in one event loop: node server.js PORT|SOCKET [ADDRESS]
'use strict';
const http = require('http');

function answer(res, status, body) {
	if (status === 204 || status === 304) {
		res.writeHead(status);
		res.end();
		return;
	}
	res.writeHead(status, { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(body) });
	res.end(body);
}

function spinAsAsked(ms) {
	const end = Date.now() + ms;
	let n = 0;
	while (Date.now() < end) n++;
	return n;
}

http.createServer((req, res) => {
	const url = new URL(req.url, 'http://localhost');
	const ms = Number(url.searchParams.get('ms') || 0);
	const status = /^\/status\/(\d+)$/.exec(url.pathname);

	if (url.pathname === '/slow') {
		setTimeout(() => answer(res, 200, 'slow\n'), ms);
	} else if (url.pathname === '/spin') {
		spinAsAsked(ms);
		answer(res, 200, 'spun\n');
	} else if (url.pathname === '/echo') {
		const parts = [];
		req.on('data', (part) => parts.push(part));
		req.on('end', () => answer(res, 200, Buffer.concat(parts)));
	} else if (url.pathname === '/chunked') {
		res.writeHead(200, { 'Content-Type': 'text/plain' });
		res.write('one\n');
		res.write('two\n');
		setTimeout(() => res.end('three\n'), ms);
	} else if (url.pathname === '/pid') {
		answer(res, 200, process.pid + '\n');
	} else if (status) {
		answer(res, Number(status[1]), 'as asked\n');
	} else {
		answer(res, 200, 'fast\n');
	}
}).listen(process.argv[2], process.argv[3]);
