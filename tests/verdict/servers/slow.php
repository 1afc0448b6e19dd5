<?php
/* Slow requests, each with one cause: /CAUSE.php is a link to this file, 'ms' says how long. */
function php_sleep(float $s): void {
    usleep((int)($s * 1e6));
}

function php_cpu(float $s): void {
    for ($end = microtime(true) + $s; microtime(true) < $end;) {
        for ($i = 0; $i < 20000; $i++) {
            sqrt($i);
        }
    }
}

function php_session(float $s): void {
    session_save_path($_GET['folder']);
    session_id('abc123');
    session_start();
    usleep((int)($s * 1e6));
}

function php_flock(float $s): void {
    $f = fopen($_GET['folder'] . '/cart.lock', 'r');
    flock($f, LOCK_EX);
}

function php_upstream(float $s): void {
    file_get_contents("http://127.0.0.1:{$_GET['port']}/slow?ms=" . (int)($s * 1000));
}

function php_silent(float $s): void {
    $c = stream_socket_client("tcp://127.0.0.1:{$_GET['port']}");
    fwrite($c, "HELLO\n");
    fgets($c);
}

function php_child(float $s): void {
    shell_exec("sleep $s; echo done");
}

function php_regex(float $s): void {
    ini_set('pcre.backtrack_limit', '100000000');
    ini_set('pcre.jit', '0');
    for ($end = microtime(true) + $s; microtime(true) < $end;) {
        preg_match('/^(a+)+$/', str_repeat('a', 22) . 'b');
    }
}

/* A long list of objects, looked through from one end whenever that may have become garbage. */
function php_gc(float $s): void {
    $last = null;
    for ($i = 0; $i < 100000; $i++) {
        $one = new stdClass;
        $one->next = $last;
        $last = $one;
    }
    for ($end = microtime(true) + $s; microtime(true) < $end;) {
        $copy = $last;
        unset($copy);
        gc_collect_cycles();
    }
}

function php_dns(float $s): void {
    gethostbyname('shop.example');
}

function php_queue(float $s): void {
    usleep((int)($s * 1e6));
}

function stock(): mysqli {
    return new mysqli('127.0.0.1', 'root', '', 'shop', (int)$_GET['port']);
}

function maria_sleep(float $s): void {
    stock()->query("SELECT SLEEP($s), 'report'");
}

/* Two connections, and the first one's row is wanted by the second. */
function maria_row_lock(float $s): void {
    $first = stock();
    $first->begin_transaction();
    $first->query('UPDATE stock SET n = n + 1 WHERE id = 7');
    $second = stock();
    $second->query('SET innodb_lock_wait_timeout = 1');
    try {
        $second->query('UPDATE stock SET n = n - 1 WHERE id = 7');
    } catch (mysqli_sql_exception) {
    }
}

/* Many short questions first, then the cause. */
function decoy_many(float $s): void {
    $c = stream_socket_client("tcp://127.0.0.1:{$_GET['port']}");
    for ($i = 0; $i < 8; $i++) {
        one_price($c);
    }
    usleep((int)($s * 1e6));
}

/* The pool is busy and others queue, but this one has its worker, which waits for somebody else. */
function decoy_pool(float $s): void {
    php_silent($s);
}

function one_price(mixed $c): void {
    fwrite($c, "GET /slow?ms=4 HTTP/1.1\r\nHost: x\r\n\r\n");
    while (trim(fgets($c)) !== '');
    fgets($c);
}

/* Two hundred small questions instead of one. */
function php_many(float $s): void {
    $c = stream_socket_client("tcp://127.0.0.1:{$_GET['port']}");
    for ($end = microtime(true) + $s; microtime(true) < $end;) {
        one_price($c);
    }
}

basename($_SERVER['SCRIPT_NAME'], '.php')((int)($_GET['ms'] ?? 700) / 1000);
echo "ok\n";
