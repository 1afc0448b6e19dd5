# SPDX-License-Identifier: MIT
"""Kills reqtrap while it looks at the process that another one waits for, and says what
becomes of both: beyond_kill.py REQTRAP ROUNDS

Each round begins 'reqtrap stacks' of a process that waits for a file's lock, waits until its
holder is stopped for the second look, and kills, after a while that differs each time:
reqtrap, its dump worker, its analyst, or all at once. Then both processes must go on, be
traced by nobody, have no child and no signal that they have not sent. One line at the end;
exit code 1: somebody came to harm.
"""
import fcntl
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

REQTRAP, ROUNDS = sys.argv[1], int(sys.argv[2])
WHO = ("reqtrap", "worker", "analyst", "all")
folder = tempfile.TemporaryDirectory(prefix="reqtrap-beyond.")
lock = os.path.join(folder.name, "lock")
ticks = mmap.mmap(-1, 4096)
random.seed(4711)


def holder():
    with open(lock, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        n = 0
        while True:
            n += 1
            ticks[0:8] = n.to_bytes(8, "little")
            time.sleep(0.002)


def waiter():
    with open(lock) as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        os._exit(7)  # it got a lock that nobody gave up


def start(what):
    pid = os.fork()
    if pid == 0:
        try:
            what()
        finally:
            os._exit(1)
    return pid


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(word) for word in f.read().split()]
    except OSError:
        return []


def verb(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().split(b"\0")[1].decode()
    except (OSError, IndexError):
        return ""


def until(seconds, true):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def count():
    return int.from_bytes(ticks[0:8], "little")


def in_call(pid, number):
    with open("/proc/%d/syscall" % pid) as f:
        return f.read().startswith(number)


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def harmed(pid, name):
    if not until(20, lambda: status(pid)["TracerPid"] == "0" and status(pid)["State"][0] in "SRD"):
        return "%s: %s" % (name, {key: status(pid)[key] for key in ("State", "TracerPid")})
    if not until(20, lambda: not children(pid)):
        return "%s has children: %s" % (name, children(pid))
    if int(status(pid)["SigPnd"], 16) or int(status(pid)["ShdPnd"], 16):
        return "%s has signals pending" % name
    return None


def one_round(n, held, waiting):
    who = WHO[n % len(WHO)]
    reqtrap = subprocess.Popen([REQTRAP, "stacks", "--json", str(waiting)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    fd = os.open("/proc/%d/status" % held, os.O_RDONLY)
    seen = False
    while not seen and reqtrap.poll() is None and time.monotonic() < end:
        seen = b"TracerPid:\t0\n" not in os.pread(fd, 4096, 0)
    os.close(fd)
    family = children(reqtrap.pid)
    stop = time.monotonic() + random.random() * 0.004  # a stop takes about a millisecond
    while time.monotonic() < stop:
        pass
    victims = {"reqtrap": [reqtrap.pid], "all": [reqtrap.pid] + family,
               "worker": [pid for pid in family if verb(pid) == "--worker"],
               "analyst": [pid for pid in family if verb(pid) == "--analyst"]}[who]
    kill(victims)
    try:
        reqtrap.wait(60)
    except subprocess.TimeoutExpired:
        reqtrap.kill()
        return seen, "reqtrap hangs when its %s is killed" % who
    before = count()
    why = harmed(held, "the holder") or harmed(waiting, "the waiter")
    if not why and not until(20, lambda: count() > before):
        why = "the holder does not go on"
    if not why and not until(20, lambda: in_call(waiting, "73 ")):
        why = "the waiter does not wait any more"
    if not why and not until(20, lambda: not any(verb(pid) in ("--worker", "--analyst") for pid in family)):
        why = "a helper of reqtrap's is left"
    return seen, why and "round %d, %s killed: %s" % (n, who, why)


def main():
    held = start(holder)
    until(20, lambda: count())
    waiting = start(waiter)
    until(20, lambda: in_call(waiting, "73 "))
    hits = 0
    try:
        for n in range(ROUNDS):
            seen, why = one_round(n, held, waiting)
            hits += seen
            if why:
                print(why)
                return 1
    finally:
        kill([waiting, held])
        os.waitpid(waiting, 0)
        os.waitpid(held, 0)
    print("%d rounds, in %d the holder stood still, no harm" % (ROUNDS, hits))
    return 0 if hits * 8 >= ROUNDS else 1  # else nothing was tried


sys.exit(main())
