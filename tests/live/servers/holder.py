# SPDX-License-Identifier: MIT
"""HTTP servers in which another thread or process than the reader works on a request;
the answer to /work?ms=N is the id of the thread that worked on it, N ms long.

usage: holder.py KIND PORT [WORKERS [UPSTREAM-PORT]]
  queue     one thread reads, a pool of WORKERS takes requests from a queue, works and answers
  executor  an event loop reads and answers, its pool of WORKERS works
  fork      one process reads and forks another for each request, which works and answers
  loop      an event loop alone: waits for time to pass, of use to no thread
Work is /work (sleeps), /spin (computes), /call?ms=N (asks the server at UPSTREAM-PORT,
whose answer is passed on).
"""
import asyncio
import concurrent.futures
import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request

kind, port = sys.argv[1], int(sys.argv[2])
workers = int(sys.argv[3]) if len(sys.argv) > 3 else 4
upstream = sys.argv[4] if len(sys.argv) > 4 else None


def target_of(head):
    url = urllib.parse.urlsplit(head.split()[1].decode())
    return url.path, url.query, int(dict(urllib.parse.parse_qsl(url.query)).get("ms", 0)) / 1000


def work(head):
    path, query, seconds = target_of(head)
    if path == "/call":
        with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/work?{query}", timeout=30) as answer:
            return answer.read()
    end = time.monotonic() + seconds
    if path == "/spin":
        while time.monotonic() < end:
            pass
    elif seconds:
        time.sleep(seconds)
    return str(threading.get_native_id()).encode()


def answer(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def each_head(on_accept):
    """One thread accepts and reads; calls on_accept(connection, head) for each request."""
    poll = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    poll.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in poll.select():
            if key.fileobj is listener:
                poll.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            head = key.fileobj.recv(65536)
            if not head:
                poll.unregister(key.fileobj)
                key.fileobj.close()
                continue
            on_accept(poll, key.fileobj, head)


def queue_server():
    waiting = queue.SimpleQueue()

    def worker():
        while True:
            connection, head = waiting.get()
            connection.sendall(answer(work(head)))

    for _ in range(workers):
        threading.Thread(target=worker, daemon=True).start()
    each_head(lambda poll, connection, head: waiting.put((connection, head)))


def fork_server():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def fork(poll, connection, head):
        poll.unregister(connection)
        if os.fork() == 0:
            connection.sendall(answer(work(head)))
            os._exit(0)
        connection.close()

    each_head(fork)


def loop_server(pool):
    async def serve(reader, writer):
        while head := await reader.readline():
            while (await reader.readline()).strip():
                pass
            if pool:
                body = await asyncio.get_running_loop().run_in_executor(pool, work, head)
            else:
                await asyncio.sleep(target_of(head)[2])
                body = str(threading.get_native_id()).encode()
            writer.write(answer(body))
            await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=256)
        await server.serve_forever()

    asyncio.run(main())


if kind == "queue":
    queue_server()
elif kind == "fork":
    fork_server()
elif kind == "executor":
    loop_server(concurrent.futures.ThreadPoolExecutor(workers))
else:
    loop_server(None)
