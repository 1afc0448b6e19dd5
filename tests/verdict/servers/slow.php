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
