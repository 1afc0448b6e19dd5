// SPDX-License-Identifier: MIT
// Node: /work?ms=N waits for time to pass, /open?path=FIFO waits in a thread of the pool
// until somebody opens the other end: node pool.js PORT.
'use strict';
const fs = require('fs');
require('http').createServer((req, res) => {
	const url = new URL(req.url, 'http://localhost');
	const done = () => res.end(String(process.pid));

	if (url.pathname === '/open')
		fs.readFile(url.searchParams.get('path'), done);
	else
		setTimeout(done, Number(url.searchParams.get('ms')));
}).listen(process.argv[2], '127.0.0.1');
