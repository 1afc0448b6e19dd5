# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The servers of the corpus (server_NAME sets TARGETS and PORT), and its rows.

ask() { # PATH
	client "$PORT" get "$1" >/dev/null
}

# ---- Python, one thread a request ----

# start_slow_python NAME: on $PORT, its id in $SLOW
start_slow_python() {
	PORT=$(free_port)
	: >"$LIVE/cart.lock"
	start_on_port "$1" "$PORT" nice -n -15 python3 "$here/servers/slow.py" "$PORT" "$LIVE" "${PYTHON_PORT:-1}"
	SLOW=$STARTED
	TARGETS=("$SLOW")
}

server_python() {
	need python3 || return
	start_python # its upstream
	start_slow_python slow-python
	head -c 50000000 /dev/zero >"$LIVE/catalogue.bin"
}

# Another process has the lock until somebody has waited for it long enough.
hold_the_lock() { # FILE
	local waits
	waits="-> FLOCK .*:$(stat -c %i "$1") "
	flock -o "$1" sh -c "echo held; until grep -q -e '$waits' /proc/locks; do sleep 0.01; done; sleep 0.7" \
		>"$LIVE/held" 3>&- &
	HOLDER=$!
	wait_for 5 grep -q held "$LIVE/held"
}

scene_py_flock() {
	hold_the_lock "$LIVE/cart.lock"
	ask /py_flock
}


# cgroup CONTROLLER KEY-OF-V1 VALUE KEY-OF-V2 VALUE: $SLOW in a control group with that limit.
# Where that cannot be made, the case is skipped.
cgroup() {
	local root=/sys/fs/cgroup key=$4 value=$5
	[[ ! -d $root/$1 ]] || { root+=/$1 key=$2 value=$3; }
	CGROUP=$root/reqtrap-test-$$
	mkdir -p "$CGROUP" 2>/dev/null || skip "cannot make a control group" || return
	CGROUPS+=("$CGROUP")
	{ echo "$value" >"$CGROUP/$key" && echo "$SLOW" >"$CGROUP/cgroup.procs"; } 2>/dev/null ||
		skip "cannot limit a control group's $1"
}
CGROUPS=()
cgroup_end() { # nothing of $SLOW is limited any more
	echo "$SLOW" >"${CGROUP%/*}/cgroup.procs"
	wait_for 2 rmdir "$CGROUP"
}

slow_disk() { # write|read BYTES-A-SECOND
	local disk
	disk=$(findmnt -no MAJ:MIN -T "$LIVE")
	cgroup blkio "blkio.throttle.$1_bps_device" "$disk $2" io.max "$disk ${1:0:1}bps=$2"
}
scene_py_fsync() {
	slow_disk write 256000
	ask /py_fsync
	cgroup_end
}
forget_file() { # FILE: none of it in memory
	sync "$1"
	python3 -c 'import os, sys; os.posix_fadvise(os.open(sys.argv[1], os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)' "$1"
}
scene_py_slow_disk() {
	forget_file "$LIVE/catalogue.bin"
	slow_disk read 500000
	ask /py_slow_disk
	cgroup_end
}
# On a machine that is busy with others what computes waits for the CPU: 'no-cpu', then.
row py_sleep python sleep - - 'py_sleep\(\) at .*slow\.py:[0-9]+'
row py_cpu python 'cpu|no-cpu' - - 'py_cpu.*\(\) at .*slow\.py:[0-9]+'
row py_lock python lock 'RLock 0x' 'cache|rebuild_cache' 'rebuild_cache\(\) at .*slow\.py:[0-9]+'
row py_deadlock python deadlock 'RLock 0x' 'held by [0-9]+' -
row py_gil python interpreter-lock 'the GIL' 'held by [0-9]+|other threads' -
row py_flock python file-lock cart.lock 'flock|sh' 'py_flock\(\) at .*slow\.py:[0-9]+'
row py_fsync python disk journal.db - 'py_fsync\(\) at .*slow\.py:[0-9]+'
row py_upstream python sleep - "python3 [0-9]+" 'sleep_as_asked\(\) at .*server\.py:[0-9]+'
row py_child python child-process 'child' 'sleep' 'py_child\(\) at .*slow\.py:[0-9]+'
row py_slow_disk python disk 'catalogue\.bin' - 'py_slow_disk\(\) at .*slow\.py:[0-9]+'
row py_gc python 'garbage-collection|cpu|no-cpu' - - 'py_gc\(\) at .*slow\.py:[0-9]+'
row py_regex python 'regex|no-cpu' - - 'match\(\) called by py_regex\(\) at .*slow\.py:[0-9]+'
row py_logger python pipe-full 'pipe' 'sh [0-9]+|"sh"|sleep' 'py_logger\(\) at .*slow\.py:[0-9]+'
row py_pipe python pipe-full 'pipe' - 'py_pipe\(\) at .*slow\.py:[0-9]+'

# ---- Python in a control group ----

server_throttled() {
	need python3 || return
	start_slow_python slow-throttled
	cgroup cpu cpu.cfs_quota_us 20000 cpu.max '20000 100000'
}

server_memory() {
	need python3 || return
	start_slow_python slow-memory
	head -c 50000000 /dev/zero >"$LIVE/catalogue.bin"
	forget_file "$LIVE/catalogue.bin"
	cgroup memory memory.limit_in_bytes 4M memory.max 4M
}
scene_py_memory() { # what was read by the first is not there any more for the second
	ask '/py_memory?ms=250&first'
	slow_disk read 3000000
	ask '/py_memory?ms=900'
	cgroup_end
}

row py_throttled throttled cpu-throttled '0\.20 CPUs' - 'py_throttled|py_cpu'
row py_memory memory memory 'its cgroup has [0-9]+ of at most [0-9]+ MiB' - 'py_memory\(\) at .*slow\.py:[0-9]+'

# ---- Python, and who answers its calls ----

server_dns() { # a resolver that takes every question and answers none
	need python3 || return
	unshare -m --propagation private true 2>/dev/null || skip "cannot mount a resolv.conf of its own" || return
	PORT=$(free_port)
	printf 'nameserver 127.9.7.5\noptions timeout:1 attempts:1\n' >"$LIVE/resolv.conf"
	start silent-dns python3 -c 'import signal, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.9.7.5", 53))
print("bound", flush=True)
signal.pause()'
	wait_for 5 grep -q bound "$LIVE/log.silent-dns" || skip "cannot bind port 53: $(cat "$LIVE/log.silent-dns")" || return
	start_on_port slow-dns "$PORT" unshare -m --propagation private sh -c \
		'mount --bind "$0" /etc/resolv.conf && exec python3 "$@"' "$LIVE/resolv.conf" \
		"$here/servers/slow.py" "$PORT" "$LIVE" 1
	TARGETS=("$STARTED")
}

row py_dns dns dns 'shop\.example|127\.9\.7\.5' - 'py_dns\(\) at .*slow\.py:[0-9]+'

server_postgres() {
	local bin
	bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
	[[ -n $bin ]] || skip "postgresql is not installed" || return
	/usr/bin/python3 -c 'import psycopg2' 2>/dev/null || skip "python3-psycopg2 is not installed" || return
	SQL_PORT=$(free_port)
	mkdir "$LIVE/db"
	chown postgres: "$LIVE/db"
	setpriv --reuid postgres --regid postgres --clear-groups "$bin/initdb" -D "$LIVE/db" -A trust -N >"$LIVE/log.initdb" 2>&1
	start_on_port postgres "$SQL_PORT" setpriv --reuid postgres --regid postgres --clear-groups "$bin/postgres" -D "$LIVE/db" \
		-p "$SQL_PORT" -h 127.0.0.1 -k '' -F
	psql -qh 127.0.0.1 -p "$SQL_PORT" -U postgres -c 'CREATE TABLE stock AS SELECT i AS id, 9 AS n FROM generate_series(1, 9) i' postgres
	PORT=$(free_port)
	start_on_port slow-sql "$PORT" env DATABASE="host=127.0.0.1 port=$SQL_PORT user=postgres dbname=postgres" \
		/usr/bin/python3 "$here/servers/slow.py" "$PORT" "$LIVE" 1
	TARGETS=("$STARTED")
}

row py_sql postgres sql "SELECT pg_sleep|127\.0\.0\.1:[0-9]+" 'postgres' 'py_sql\(\) at .*slow\.py:[0-9]+'
row py_row_lock postgres sql 'UPDATE stock|127\.0\.0\.1:[0-9]+' 'postgres' 'py_row_lock\(\) at .*slow\.py:[0-9]+'

# ---- an event loop ----

server_asyncio() {
	start_python
	PORT=$(free_port)
	start_on_port slow-asyncio "$PORT" nice -n -15 python3 "$LIVE_TESTS/servers/loop.py" "$PORT" "$PYTHON_PORT"
	TARGETS=("$STARTED")
}


scene_spin() {
	ask '/spin?ms=700'
}

scene_call() {
	ask '/call?ms=700'
}

row spin asyncio 'cpu|no-cpu' - - 'spin\(\) at .*loop\.py:[0-9]+'
row call asyncio sleep - 'python3 [0-9]+' 'sleep_as_asked\(\)'

# ---- PHP behind nginx ----

server_php() {
	need nginx || return
	need php-fpm8.2 || return
	local name
	for name in "${todo[@]}"; do
		cp "$here/servers/slow.php" "$LIVE/php/$name.php"
	done
	: >"$LIVE/cart.lock"
	mkdir -m 777 "$LIVE/sessions"
	chmod 666 "$LIVE/cart.lock"
	start_python
	SILENT=$(free_port)
	start_on_port silent "$SILENT" python3 -c "import socket, time
s = socket.create_server(('127.0.0.1', $SILENT))
held = []
while True:
    held.append(s.accept())"
	start_fpm
	start_nginx
	PORT=$NGINX_PORT
	TARGETS=("$NGINX" "$FPM")
}

scene_php_session() {
	local first
	ask "/unix/php_session.php?ms=900&first&folder=$LIVE/sessions" &
	first=$!
	wait_for 5 test -e "$LIVE/sessions/sess_abc123"
	ask "/unix/php_session.php?ms=0&folder=$LIVE/sessions"
	wait "$first"
}
scene_php_flock() {
	hold_the_lock "$LIVE/cart.lock"
	ask "/unix/php_flock.php?folder=$LIVE"
}
scene_php_upstream() { ask "/unix/php_upstream.php?port=$PYTHON_PORT"; }
scene_php_many() { ask "/unix/php_many.php?port=$PYTHON_PORT"; }
scene_php_silent() { timeout 2 python3 "$LIVE_TESTS/client.py" "$PORT" get "/unix/php_silent.php?port=$SILENT" 2>/dev/null || :; }
for name in sleep cpu child regex; do
	eval "scene_php_$name() { ask /unix/php_$name.php; }"
done

row php_sleep php sleep - 'PHP worker' 'php_sleep\(\) at .*php_sleep\.php:4'
row php_cpu php 'cpu|no-cpu' - 'PHP worker' 'php_cpu\(\) at .*php_cpu\.php:[0-9]+'
row php_session php session-lock 'sess_abc123' 'php-fpm' 'php_session\(\) at .*php_session\.php:18'
row php_flock php file-lock 'cart.lock' 'flock|sh' 'php_flock\(\) at .*php_flock\.php:[0-9]+'
row php_upstream php sleep - 'python3' 'sleep_as_asked\(\)'
row php_child php child-process 'child|pipe' 'sh' 'php_child\(\) at .*php_child\.php:[0-9]+'
row php_regex php 'regex|no-cpu' - 'PHP worker' 'preg_match\(\) called by php_regex\(\)|php_regex\(\) at .*:[0-9]+'
row php_many php many-calls '127\.0\.0\.1' 'python3' 'php_many|one_price'
row php_silent php upstream '127\.0\.0\.1:[0-9]+' 'python3' 'php_silent\(\) at .*php_silent\.php:[0-9]+'

# ---- C, one thread a request ----

server_c() {
	need gcc || return
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -O1 -g -o "$LIVE/shop" "$here/servers/slow.c" -lpthread
	PORT=$(free_port)
	: >"$LIVE/ledger.db"
	start_on_port shop "$PORT" nice -n -15 "$LIVE/shop" "$PORT" "$LIVE"
	TARGETS=("$STARTED")
}

scene_c_deadlock() { # is never answered
	timeout 0.8 python3 "$LIVE_TESTS/client.py" "$PORT" get /c_deadlock 2>/dev/null || :
}
scene_c_fcntl() {
	python3 -c "import fcntl, sys, time
f = open('$LIVE/ledger.db', 'r+')
fcntl.lockf(f, fcntl.LOCK_EX)
print('held', flush=True)
time.sleep(0.9)" >"$LIVE/held" &
	wait_for 5 grep -q held "$LIVE/held"
	ask /c_fcntl
}
scene_c_client() { # asks, reads nothing for a while, goes
	python3 -c "import socket, time
c = socket.create_connection(('127.0.0.1', $PORT))
c.send(b'GET /c_client HTTP/1.1\r\nHost: x\r\n\r\n')
time.sleep(0.8)"
}

row c_mutex c lock 'mutex 0x' 'held by [0-9]+' 'slow\.c:[0-9]+ called by count_the_stock'
row c_rwlock c lock 'rwlock 0x' 'held by [0-9]+' 'slow\.c:[0-9]+ called by write_the_catalogue'
row c_chain c lock 'mutex 0x' 'held by [0-9]+.*held by [0-9]+' 'slow\.c:[0-9]+ called by count_the_stock'
row c_deadlock c deadlock 'mutex 0x' 'held by [0-9]+' 'c_deadlock at .*slow\.c:[0-9]+'
row c_condition c thread-wakeup 'condition variable 0x' - 'c_condition at .*slow\.c:[0-9]+'
row c_semaphore c thread-wakeup 'semaphore 0x' - 'c_semaphore at .*slow\.c:[0-9]+'
row c_join c thread-end '[0-9]+' 'thread [0-9]+|[0-9]+ "' 'slow\.c:[0-9]+ called by print_the_labels'
row c_cpu c 'cpu|no-cpu' - 'shop [0-9]+' 'c_cpu at .*slow\.c:[0-9]+'
row c_sleep c sleep - 'shop [0-9]+' 'slow\.c:[0-9]+ called by c_sleep'
row c_child c child-process 'child process [0-9]+' 'sleep' 'c_child at .*slow\.c:[0-9]+'
row c_fcntl c file-lock 'ledger\.db' 'python3' 'c_fcntl at .*slow\.c:[0-9]+'
row c_client c slow-client '127\.0\.0\.1:[0-9]+' - 'c_client at .*slow\.c:[0-9]+'
