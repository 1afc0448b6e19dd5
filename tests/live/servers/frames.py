# SPDX-License-Identifier: MIT
"""Threads that wait at places of all kinds; then faulthandler's word for where they are."""
import faulthandler
import os
import sys
import threading
import time

truth = open(sys.argv[1], "w")
released = threading.Event()
waiting = threading.Semaphore(0)


class Shop:
    def checkout(self,
                 depth):
        if depth:
            return self.checkout(
                depth - 1)
        return [self.pay(item)
                for item in (1,)]

    def pay(self, item):
        try:
            raise KeyError(item)
        except KeyError:
            with_finally(item)


def with_finally(item):
    try:
        (lambda: park())()
    finally:
        item += 1


def park():
    waiting.release()
    released.wait()


def generate():
    yield 1
    park()


def übergabe():
    for _ in generate():
        pass


def nested():
    def inner(*args, **kwargs):
        return sorted(
            [3, 1],
            key=lambda n: park() or n,
        )
    return inner(1, a=2)


# 300 lines without code below: a step that no single byte holds.
exec("def far():\n" + "\n" * 300 + "    park()\n", globals())


def sleeper():
    waiting.release()
    time.sleep(100000)


bodies = [lambda: Shop().checkout(3), übergabe, nested, far, sleeper]
for body in bodies:
    threading.Thread(target=body, daemon=True).start()
for _ in bodies:
    waiting.acquire()


def asleep():
    """Every other thread is in a system call, and stays in it."""
    for tid in os.listdir("/proc/self/task"):
        if int(tid) != os.getpid() and open("/proc/self/task/%s/syscall" % tid).read().startswith("running"):
            return False
    return True


def main():
    while not asleep():
        time.sleep(0.01)
    faulthandler.dump_traceback(truth, all_threads=True); rest()


def rest():
    truth.write("done\n")
    truth.flush()
    time.sleep(100000)


main()
