<?php
/* Scenes with a stopwatch of their own: stopwatch.php?scene=NAME&ms=N&port=UPSTREAM&file=PATH
 * answers 'TOOK USER KERNEL' in milliseconds. */
function ms_used(string $which): float {
    $u = getrusage();
    return $u["ru_$which.tv_sec"] * 1e3 + $u["ru_$which.tv_usec"] / 1e3;
}

$ms = (int)$_GET['ms'];
$scenes = [
    'sleep' => fn() => usleep($ms * 1000),
    'cpu' => function () use ($ms) {
        for ($end = ms_used('utime') + ms_used('stime') + $ms; ms_used('utime') + ms_used('stime') < $end;) {
            for ($i = 0; $i < 20000; $i++) {
                sqrt($i);
            }
        }
    },
    'flock' => function () {
        $f = fopen($_GET['file'], 'r');
        flock($f, LOCK_EX);
        fclose($f);
    },
    'upstream' => function () use ($ms) {
        $c = stream_socket_client("tcp://127.0.0.1:{$_GET['port']}");
        fwrite($c, "GET /slow?ms=$ms HTTP/1.0\r\n\r\n");
        stream_get_contents($c);
        fclose($c);
    },
    'pipe' => fn() => shell_exec('sleep ' . $ms / 1000 . '; echo done'),
];
[$took, $user, $kernel] = [hrtime(true), ms_used('utime'), ms_used('stime')];
$scenes[$_GET['scene']]();
printf("%.3f %.3f %.3f\n", (hrtime(true) - $took) / 1e6, ms_used('utime') - $user, ms_used('stime') - $kernel);
