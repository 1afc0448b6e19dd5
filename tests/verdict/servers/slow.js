// SPDX-License-Identifier: MIT
// Slow requests in one event loop: node slow.js PORT SILENT-PORT
'use strict';
const http = require('http');
const silent = Number(process.argv[3]);

function spin(ms) {
	for (const end = Date.now() + ms; Date.now() < end;);
}

const causes = {
	// begins its answer, and would end it soon, if nobody else had the loop
	node_behind(res) {
		res.write('begun\n');
		setTimeout(() => res.end('ok\n'), 50);
	},
	node_cpu(res) {
		spin(700);
		res.end('ok\n');
	},
	node_upstream(res) {
		const done = () => res.end('ok\n');
		const call = http.get({ port: silent, host: '127.0.0.1', timeout: 800 }, done);
		call.on('timeout', () => call.destroy()).on('error', done);
	},
	node_timer(res) {
		setTimeout(() => res.end('ok\n'), 700);
	},
	// a short call, answered, then a timer: the one is over, the other on no stack
	decoy_called(res) {
		http.get({ port: process.argv[2], host: '127.0.0.1', path: '/fast' }, (other) => {
			other.resume();
			setTimeout(() => res.end('ok\n'), 700);
		});
	},
};

http.createServer((req, res) => {
	const cause = causes[req.url.slice(1).replace(/\?.*/, '')];
	if (cause)
		cause(res);
	else
		res.end('fast\n');
}).listen(process.argv[2], '127.0.0.1');
