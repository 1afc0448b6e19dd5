# SPDX-License-Identifier: MIT
"""Tests of a worker that stays attached: sentry.py REQTRAP FOLDER TEST. FOLDER holds the
victim and the parent that is played; what the victim makes of a signal is compared with
what it makes of it when nobody is attached."""
import ctypes
import os
import re
import signal
import subprocess
import sys
import time

REQTRAP, FOLDER, TEST = sys.argv[1:4]
OUT = FOLDER + "/out"
VICTIM = FOLDER + "/s_victim"
started = []
workers = []


def check(true, what):
    if not true:
        raise SystemExit("FAILED: " + str(what))


def is_(actual, expected, what):
    check(actual == expected, f"{what}: {actual!r}, expected {expected!r}")


def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, what)
        time.sleep(0.005)


class Program:
    def __init__(self, *argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = self.process.pid
        started.append(self.process)

    def line(self):
        return self.process.stdout.readline()

    def write(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()


def value(line, key):
    words = line.split()
    return int(words[words.index(key) + 1])


class Victim(Program):
    def __init__(self, *argv):
        super().__init__(VICTIM, *argv)
        self.first = self.line()

    def ask(self, word="say"):
        self.write(word)
        return self.line()

    def status(self):
        """As wait() gives it: the process is not reaped by anybody else."""
        status = os.waitpid(self.pid, 0)[1]
        self.process.returncode = 0
        return status

    def field(self, name):
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
            return re.search(rf"^{name}:\s*(\S+)", file.read(), re.M).group(1)

    def children(self):
        text = ""
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{tid}/children", encoding="ascii") as file:
                text += file.read()
        return text.split()


class Sentry(Program):
    def __init__(self, victim, *wish):
        super().__init__(FOLDER + "/s_sentry", REQTRAP, str(victim.pid), OUT, *map(str, wish))
        self.worker = value(self.line(), "worker")
        workers.append(self.worker)
        is_(self.line(), "waiting\n", "the worker")

    def result(self):
        line = self.line()
        check(line.startswith("result"), f"no result: {line!r}")
        return line

    def seen(self):
        rows = {}
        for line in self.process.stdout:
            if line.startswith("seen"):
                rows[value(line, "seen")] = value(line, "count")
        return rows


class Value(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("pointer", ctypes.c_void_p)]


libc = ctypes.CDLL(None, use_errno=True)


def queue(pid, number, count):
    for _ in range(count):
        while libc.sigqueue(pid, number, Value(number=1)) < 0:
            time.sleep(0.001)


def gdb(core, *commands):
    argv = ["gdb", "-batch", "-nx"]
    for command in commands:
        argv += ["-ex", command]
    return subprocess.run(argv + [VICTIM, core], capture_output=True, text=True, timeout=120, check=False).stdout


def core():
    return OUT + "/core.1"


def end_like_without(*argv, word, wish, cause):
    """The process ends in the same way, and its core is there, first thread first."""
    alone = Victim(*argv)
    alone.write(word)
    victim = Victim(*argv)
    sentry = Sentry(victim, *wish)
    victim.write(word)
    result = sentry.result()
    is_(victim.status(), alone.status(), f"the wait status after '{word}'")
    is_(value(result, "code"), 0, result)
    is_(value(result, "cause"), cause, result)
    is_(value(result, "ended"), 1, result)
    return victim, result


def test_fatal():
    for word, name in (("segv", "SIGSEGV"), ("blocked", "SIGSEGV"), ("abort", "SIGABRT")):
        victim, result = end_like_without(word=word, wish=["fatal"], cause=2)
        is_(value(result, "tid"), value(victim.first, "doer"), "the thread")
        text = gdb(core(), "thread", "bt", "info threads")
        check(f"terminated with signal {name}" in text, text)
        check(f"LWP {value(result, 'tid')})" in text.split("Current thread is 1")[1].split("\n")[0], text)
        check("fault_here" in text or word == "abort", text)
        is_(len(re.findall(r"^[* ] +\d+ +Thread", text, re.M)), 3, "threads in " + text)
        os.unlink(core())
    victim, result = end_like_without("alone", word="segv", wish=["fatal", "mini"], cause=2)
    is_(value(result, "tid"), victim.pid, "the only thread")


def test_exit():
    _, result = end_like_without(word="exit 7", wish=["exit"], cause=3)
    is_(value(result, "exit"), 7, result)
    check("_exit" in gdb(core(), "bt"), "the exit is not in the core")
    os.unlink(core())
    _, result = end_like_without(word="last", wish=["exit"], cause=3)
    is_(value(result, "exit"), 0, result)
    check("_exit" in gdb(core(), "bt"), "the last thread's exit is not in the core")
    os.unlink(core())
    victim = Victim()
    sentry = Sentry(victim, "exit")
    is_(value(victim.ask("exec"), "pid"), victim.pid, "an exec")
    victim.ask("threads 50")
    os.kill(victim.pid, signal.SIGKILL)
    is_(victim.status(), signal.SIGKILL, "the wait status of a killed one")
    result = sentry.result()
    is_(value(result, "signal"), signal.SIGKILL, result)


def test_signal():
    """One that a thread other than the main one handles: once, and it goes on."""
    victim = Victim()
    sentry = Sentry(victim, signal.SIGUSR1, "clone")
    os.kill(victim.pid, signal.SIGUSR1)
    result = sentry.result()
    is_(value(result, "code"), 0, result)
    is_(value(result, "cause"), 1, result)
    is_(value(result, "tid"), value(victim.first, "getter"), "the thread")
    is_(value(result, "sender"), os.getpid(), "the sender")
    is_(value(result, "ended"), 0, result)
    is_(sentry.seen(), {signal.SIGUSR1: 1}, "signals seen")
    text = gdb(core(), "bt")
    check("epoll_wait" in text and "signal handler called" not in text, text)
    is_(value(victim.ask(), "usr1"), 1, "signals handled")
    is_(victim.children(), [], "children")
    is_(victim.field("TracerPid"), "0", "its tracer")


def test_handled():
    victim = Victim()
    sentry = Sentry(victim, "crash")
    is_(value(victim.ask("handled 5"), "caught"), 5, "faults handled")
    result = sentry.result()
    is_(value(result, "cause"), 1, result)
    is_(value(result, "tid"), value(victim.first, "doer"), "the thread")
    text = gdb(core(), "bt")
    check("fault_here" in text, text)
    sentry = Sentry(victim, "fatal")
    victim.ask("handled 100")
    sentry.write("cancel")
    is_(value(sentry.result(), "code"), -125, "a handled fault is not fatal")
    is_(sentry.seen(), {signal.SIGSEGV: 100}, "signals seen")


def test_flood():
    victim = Victim()
    sentry = Sentry(victim, signal.SIGUSR2, "fatal")
    queue(victim.pid, signal.SIGRTMIN, 20000)
    until("not all are handled", lambda: value(victim.ask(), "rt") == 20000)
    sentry.write("cancel")
    is_(value(sentry.result(), "code"), -125, "it never fires")
    is_(sentry.seen(), {signal.SIGRTMIN: 20000}, "signals seen")
    is_(victim.field("TracerPid"), "0", "its tracer")


def test_calm():
    """What costs nothing without us costs nothing with us: no EINTR by what is ignored, job
    control, threads, children, exec."""
    victim = Victim()
    sentry = Sentry(victim, signal.SIGUSR2, "fatal", "exit")
    before = value(victim.ask(), "eintr")
    for _ in range(200):
        os.kill(victim.pid, signal.SIGWINCH)
        os.kill(victim.pid, signal.SIGCHLD)
        time.sleep(0.001)
    for _ in range(20):
        os.kill(victim.pid, signal.SIGSTOP)
        status = os.waitpid(victim.pid, os.WUNTRACED)[1]
        check(os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP, f"a stop: {status:x}")
        os.kill(victim.pid, signal.SIGCONT)
        check(os.WIFCONTINUED(os.waitpid(victim.pid, os.WCONTINUED)[1]), "no going on")
    line = victim.ask("threads 1000")
    victim.ask("fork 100")
    victim.ask("bare 50")
    is_(value(line, "eintr"), before, "EINTR")
    is_(value(line, "timeouts"), 0, "waits that ended")
    for _ in range(30):
        is_(value(victim.ask("exec"), "pid"), victim.pid, "an exec by a thread")
    is_(victim.field("TracerPid"), str(sentry.worker), "its tracer")
    queue(victim.pid, signal.SIGRTMIN, 100)
    until("not all are handled", lambda: value(victim.ask(), "rt") == 100)
    sentry.write("cancel")
    check(value(sentry.result(), "code") == -125, "it fired")


def test_killed():
    """The worker or its parent killed at any instant; the worker stopped: the target goes on."""
    victim = Victim()
    for i in range(100):
        sentry = Sentry(victim, signal.SIGUSR2, "fatal", "exit")
        sent = value(victim.ask(), "rt")
        queue(victim.pid, signal.SIGRTMIN, i % 50)
        victim.write("threads 10")
        os.kill(sentry.worker if i % 4 else sentry.pid, signal.SIGKILL)
        queue(victim.pid, signal.SIGRTMIN, 10)
        victim.line()
        until("a signal is lost", lambda: value(victim.ask(), "rt") == sent + i % 50 + 10)
        until("it is traced", lambda: victim.field("TracerPid") == "0")
        sentry.process.wait()
    sentry = Sentry(victim, signal.SIGUSR2)
    os.kill(sentry.worker, signal.SIGSTOP)
    sent = value(victim.ask(), "rt")
    queue(victim.pid, signal.SIGRTMIN, 1)
    until("a stopped worker stops the process", lambda: value(victim.ask(), "rt") == sent + 1)


def test_ended():
    victim = Victim()
    sentry = Sentry(victim, signal.SIGUSR2)
    victim.write("exit 3")
    is_(os.WEXITSTATUS(victim.status()), 3, "the exit code")
    result = sentry.result()
    is_(value(result, "code"), -3, result)
    is_(value(result, "exit"), 3, result)
    check("exit code 3" in result, result)
    is_(os.listdir(OUT), [], "files")


try:
    globals()["test_" + TEST]()
finally:
    for pid in workers if sys.exc_info()[0] else []:  # a stopped one keeps its target from its end
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b"--worker" in file.read():
                    os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    for process in started:
        if process.returncode is None and process.poll() is None:
            process.kill()
            process.wait()
