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
row py_naps python sleep '[0-9]+ times' - 'py_naps\(\) at .*slow\.py:[0-9]+'
row py_sqlite python sqlite-busy 'SQLite database' - 'py_sqlite\(\) at .*slow\.py:[0-9]+'
row py_cpu python 'cpu|no-cpu' - - 'py_cpu.*\(\) at .*slow\.py:[0-9]+'
row py_lock python lock 'RLock 0x' 'cache|rebuild_cache' 'rebuild_cache\(\) at .*slow\.py:[0-9]+'
row py_deadlock python deadlock 'RLock 0x' 'held by [0-9]+' -
row py_gil python interpreter-lock 'the GIL' 'held by [0-9]+|other threads' -
row py_flock python file-lock cart.lock 'flock|sh' 'py_flock\(\) at .*slow\.py:[0-9]+'
row py_fsync python disk journal.db - 'py_fsync\(\) at .*slow\.py:[0-9]+'
row py_upstream python sleep - "python3 [0-9]+" 'sleep_as_asked\(\) at .*server\.py:[0-9]+'
row py_child python child-process 'child' 'sleep' 'py_child\(\) at .*slow\.py:[0-9]+'
row py_slow_disk python disk 'catalogue\.bin' - 'py_slow_disk\(\) at .*slow\.py:[0-9]+'
row py_gc python 'garbage-collection|cpu|no-cpu' - - 'py_gc.*\(\) at .*slow\.py:[0-9]+'
row py_regex python 'regex|no-cpu' - - 'match\(\) called by py_regex\(\) at .*slow\.py:[0-9]+'
row py_logger python pipe-full 'pipe' 'sh [0-9]+|"sh"|sleep' 'py_logger\(\) at .*slow\.py:[0-9]+'
row py_pipe python pipe-full 'pipe' - 'py_pipe\(\) at .*slow\.py:[0-9]+'

row decoy_hot_thread python sleep - - 'decoy_hot_thread'
row decoy_own_lock python sleep - - 'decoy_own_lock'

# ---- Python in a control group ----

server_throttled() {
	need python3 || return
	start_slow_python slow-throttled
	cgroup cpu cpu.cfs_quota_us 8000 cpu.max '8000 100000'
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

row py_throttled throttled cpu-throttled '0\.08 CPUs' - 'py_throttled|py_cpu'
row py_memory memory memory 'its cgroup has [0-9]+ of at most [0-9]+ MiB' - 'py_memory\(\) at .*slow\.py:[0-9]+'
row decoy_throttled throttled sleep - - -
row decoy_memory memory sleep - - -

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
	command -v php >/dev/null || return 0
	PHP_PORT=$(free_port)
	cp "$here/servers/slow.php" "$LIVE/php/php_dns.php"
	start_on_port php-dns "$PHP_PORT" unshare -m --propagation private sh -c \
		'mount --bind "$0" /etc/resolv.conf && exec php -S "$@"' "$LIVE/resolv.conf" "127.0.0.1:$PHP_PORT" -t "$LIVE/php"
	TARGETS+=("$STARTED")
}
scene_php_dns() {
	[[ -n ${PHP_PORT:-} ]] || skip "php is not installed" || return 0
	client "$PHP_PORT" get /php_dns.php >/dev/null
}

row php_dns dns dns 'shop\.example|127\.9\.7\.5' - 'gethostbyname\(\) called by php_dns\(\) at .*php_dns\.php:[0-9]+'
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

start_silent() { # takes every connection on $SILENT, says nothing, and hangs up in the end
	start_on_port silent "$SILENT" python3 -c "import socket, threading
s = socket.create_server(('127.0.0.1', $SILENT))
while True:
    threading.Timer(1.2, s.accept()[0].close).start()"
}

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
	start_silent
	start_fpm
	start_nginx
	PORT=$NGINX_PORT
	TARGETS=("$NGINX" "$FPM")
}

scene_php_session() {
	local first
	ask "/unix/php_session.php?ms=2500&first&folder=$LIVE/sessions" &
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
scene_php_silent() { ask "/unix/php_silent.php?port=$SILENT"; }
scene_php_queue() {
	local first
	client "$PORT" concurrent '/unix/php_queue.php?ms=2500&first' 2 >/dev/null &
	first=$!
	wait_for 5 workers_sleep
	ask '/unix/php_queue.php?ms=0'
	wait "$first"
}
workers_sleep() {
	local pid n=0
	for pid in $(children "$FPM"); do
		! grep -q "^$(sleep_number) " "/proc/$pid/syscall" || ((++n))
	done
	((n >= 2))
}
sleep_number() { # of clock_nanosleep
	[[ $(uname -m) == x86_64 ]] && echo 230 || echo 115
}
scene_decoy_pool() { # one works, one waits, and a third is in the queue
	local others
	client "$PORT" concurrent '/unix/php_queue.php?ms=900&first' 1 >/dev/null &
	others=$!
	ask "/unix/decoy_pool.php?port=$SILENT" &
	others+=" $!"
	client "$PORT" concurrent '/unix/php_queue.php?ms=0&first' 2 >/dev/null
	# shellcheck disable=SC2086 # ids
	wait $others || :
}
scene_decoy_many() { ask "/unix/decoy_many.php?port=$PYTHON_PORT"; }
for name in sleep cpu child regex gc; do
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
row php_gc php 'garbage-collection|no-cpu' - 'PHP worker' 'gc_collect_cycles\(\) called by php_gc\(\)'
row php_queue php pool-exhausted 'php\.sock' 'php-fpm: pool unix.*clock_nanosleep' -
row decoy_many php sleep - - 'decoy_many\(\) at .*:[0-9]+'
row decoy_pool php upstream '127\.0\.0\.1:[0-9]+' - 'decoy_pool'

# ---- PHP and MariaDB ----

server_mariadb() {
	need nginx || return
	need php-fpm8.2 || return
	need mariadbd || return
	need mariadb-install-db || return
	grep -qx mysqli <(php-fpm8.2 -m) || skip "php8.2-mysql is not installed" || return
	local name
	for name in "${todo[@]}"; do
		cp "$here/servers/slow.php" "$LIVE/php/$name.php"
	done
	SQL_PORT=$(free_port)
	mkdir "$LIVE/maria"
	chown nobody: "$LIVE/maria"
	mariadb-install-db --no-defaults --user=nobody --datadir="$LIVE/maria" --auth-root-authentication-method=normal \
		--skip-test-db >"$LIVE/log.install" 2>&1 || skip "mariadb-install-db: $(tail -1 "$LIVE/log.install")" || return
	start_on_port mariadb "$SQL_PORT" mariadbd --no-defaults --user=nobody --datadir="$LIVE/maria" --port="$SQL_PORT" \
		--socket="$LIVE/maria/sock" --bind-address=127.0.0.1 --innodb-flush-log-at-trx-commit=0
	php -r 'error_reporting(E_ALL); $m = new mysqli("127.0.0.1", "root", "", "", (int)$argv[1]);
		$m->query("CREATE DATABASE shop"); $m->query("CREATE TABLE shop.stock (id INT PRIMARY KEY, n INT) ENGINE=InnoDB");
		$m->query("INSERT INTO shop.stock VALUES (7, 9)");' "$SQL_PORT"
	start_fpm
	start_nginx
	PORT=$NGINX_PORT
	TARGETS=("$NGINX" "$FPM")
}
scene_maria_sleep() { ask "/unix/maria_sleep.php?port=$SQL_PORT"; }
scene_maria_row_lock() { ask "/unix/maria_row_lock.php?port=$SQL_PORT"; }

row maria_sleep mariadb sql 'SELECT SLEEP' 'mariadbd [0-9]+' 'maria_sleep\(\) at .*:[0-9]+'
row maria_row_lock mariadb sql 'UPDATE stock' 'mariadbd [0-9]+' 'maria_row_lock\(\) at .*:[0-9]+'

# ---- who is behind a proxy ----

server_gunicorn() { # one worker, and what it cannot take waits where it listens
	need nginx || return
	need gunicorn || return
	PYTHON_PORT=$(free_port)
	start_on_port gunicorn "$PYTHON_PORT" gunicorn --chdir "$LIVE_TESTS/servers" -w 1 -b "127.0.0.1:$PYTHON_PORT" wsgi:app
	GUNICORN=$STARTED
	start_nginx
	PORT=$NGINX_PORT
	TARGETS=("$NGINX" "$GUNICORN")
}
scene_gunicorn_queue() {
	local first
	ask '/py/gunicorn_queue?ms=1500&first' &
	first=$!
	wait_for 5 grep -q "^$(sleep_number) " "/proc/$(children "$GUNICORN" | head -1)/syscall"
	ask '/py/gunicorn_queue?ms=0'
	wait "$first"
}

row gunicorn_queue gunicorn pool-exhausted '127\.0\.0\.1:[0-9]+' 'gunicorn' -

server_proxy() {
	need nginx || return
	need gcc || return
	start_shop
	PYTHON_PORT=$PORT start_nginx
	PORT=$NGINX_PORT
	TARGETS=("$NGINX" "$SHOP")
}
scene_proxy_client() { slow_reader /py/proxy_client; }

row proxy_client proxy slow-client '127\.0\.0\.1:[0-9]+' 'nginx [0-9]+' 'c_client at .*slow\.c:[0-9]+'

server_apache() {
	need apache2 || return
	start_apache
	cp "$LIVE/cgi/slow.cgi" "$LIVE/cgi/apache_cgi"
	PORT=$APACHE_PORT
	TARGETS=("$APACHE")
}
scene_apache_cgi() { ask '/cgi/apache_cgi?0.8'; }

row apache_cgi apache 'child-process|other-end|upstream' 'apache_cgi|cgi' 'sleep [0-9]+|apache_cgi [0-9]+|sh [0-9]+' -

# ---- Node ----

server_node() {
	need node || return
	SILENT=$(free_port)
	start_silent
	PORT=$(free_port)
	start_on_port slow-node "$PORT" nice -n -15 node "$here/servers/slow.js" "$PORT" "$SILENT"
	TARGETS=("$STARTED")
}
scene_node_behind() { # when it has begun, another one computes
	python3 -c 'import socket, sys
first, second = (socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(2))
first.send(b"GET /node_behind HTTP/1.1\r\nHost: x\r\n\r\n")
while b"begun" not in first.recv(4096):
    pass
second.send(b"GET /node_cpu?first HTTP/1.1\r\nHost: x\r\n\r\n")
second.recv(4096)' "$PORT"
}

row node_cpu node 'cpu|no-cpu|event-loop-busy' - 'node [0-9]+' -
row node_behind node behind-another 'GET /node_cpu' 'node [0-9]+' -
row node_upstream node upstream '127\.0\.0\.1:[0-9]+' 'node [0-9]+' -
row decoy_called node event-loop-idle - - -

# ---- Java, one thread a request ----

server_java() {
	need java || return
	need javac || return
	mkdir -p "$LIVE/java"
	javac -d "$LIVE/java" "$here/servers/Slow.java" || return
	SILENT=$(free_port)
	start_silent
	PORT=$(free_port)
	start_on_port slow-java "$PORT" nice -n -15 java -Xmx64m -cp "$LIVE/java" Slow "$PORT" "$SILENT"
	TARGETS=("$STARTED")
	wait_for 10 ask '/java_sleep?ms=1' # its classes are loaded
}
scene_java_deadlock() { # is never answered
	timeout 0.9 python3 "$LIVE_TESTS/client.py" "$PORT" get /java_deadlock 2>/dev/null || :
}

row java_sleep java sleep - - 'sleep\(\) called by Slow\.java_sleep\(\) at Slow\.java:[0-9]+'
row java_cpu java 'cpu|no-cpu' - - 'Slow\.java_cpu\(\) at Slow\.java:[0-9]+'
row java_monitor java lock 'monitor 0x[0-9a-f]+ \(java\.lang\.Object\)' 'held by [0-9]+ "stocktaker"' 'Slow\.countTheStock\(\) at Slow\.java:[0-9]+'
row java_lock java lock 'ReentrantLock 0x' 'held by [0-9]+ "bookkeeper"' 'Slow\.java:[0-9]+'
row java_deadlock java deadlock 'monitor 0x' 'held by [0-9]+ "other"' -
row java_convoy java lock-convoy 'monitor 0x' 'held by [0-9]+ "logger' 'Slow\.logALine\(\) at Slow\.java:[0-9]+'
row java_pool java connection-pool 'ConnectionPool\.getConnection' - 'Slow\.java:[0-9]+'
row java_gc java garbage-collection 'GC|VM Thread' - 'Slow\.java_gc'
row java_upstream java 'upstream|other-end' '127\.0\.0\.1:[0-9]+' 'python3' 'Slow\.java_upstream\(\) at Slow\.java:[0-9]+'
row java_future java thread-wakeup 'future 0x' - 'Slow\.java_future\(\) at Slow\.java:[0-9]+'
row decoy_java_holder java sleep - - 'decoy_java_holder'
row decoy_java_garbage java 'sleep' - - 'decoy_java_garbage'
row decoy_java_late java sleep - - -
row decoy_java_two java lock - - -

# ---- C, one thread a request ----

start_shop() { # on $PORT
	gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -O1 -g -o "$LIVE/shop" "$here/servers/slow.c" -lpthread
	PORT=$(free_port)
	: >"$LIVE/ledger.db"
	start_on_port shop "$PORT" nice -n -15 "$LIVE/shop" "$PORT" "$LIVE"
	SHOP=$STARTED
}

server_c() {
	need gcc || return
	start_shop
	TARGETS=("$SHOP")
}

scene_c_deadlock() { # is never answered
	timeout 0.8 python3 "$LIVE_TESTS/client.py" "$PORT" get /c_deadlock 2>/dev/null || :
}
scene_c_fcntl() {
	python3 -c "import fcntl, sys, time
f = open('$LIVE/ledger.db', 'r+')
fcntl.lockf(f, fcntl.LOCK_EX)
print('held', flush=True)
time.sleep(1.8)" >"$LIVE/held" &
	wait_for 5 grep -q held "$LIVE/held"
	ask /c_fcntl
}
slow_reader() { # PATH: asks, reads nothing for a while, goes
	python3 -c "import socket, time
c = socket.create_connection(('127.0.0.1', $PORT))
c.send(b'GET $1 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
time.sleep(0.8)"
}
scene_c_client() { slow_reader /c_client; }
scene_decoy_load() { # a machine with more to do than it can
	local n busy=()
	for ((n = 0; n < 2 * $(nproc); n++)); do
		timeout 1 python3 -c 'while True: pass' &
		busy+=($!)
	done
	ask /decoy_load
	kill "${busy[@]}" 2>/dev/null || :
	wait "${busy[@]}" || :
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
row c_convoy c lock-convoy 'mutex 0x' 'held by [0-9]+' 'log_a_line'

# What looks like a cause and is none: right, or of low confidence.
row decoy_mutex c sleep - - 'decoy_mutex'
row decoy_hot c sleep - - 'decoy_hot'
row decoy_late_lock c 'cpu|no-cpu' - - -
row decoy_late_cpu c sleep - - -
row decoy_deadlock c sleep - - 'c_sleep' # after c_deadlock, whose threads are still there
row decoy_load c lock 'mutex 0x' 'held by [0-9]+' 'count_the_stock'
