-- SPDX-License-Identifier: MIT
-- Apache's mod_lua: /work?ms=N takes N ms and answers with the id of its thread.
function handle(r)
	local stat = io.open("/proc/thread-self/stat")
	local tid = stat:read("*n")
	stat:close()
	io.popen("sleep " .. tonumber(r.args:match("ms=(%d+)")) / 1000):close()
	r.content_type = "text/plain"
	r:puts(tid)
	return apache2.OK
end
