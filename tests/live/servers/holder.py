# SPDX-License-Identifier: MIT
"""HTTP servers in which another thread or process than the reader works on a request;
the answer to /work?ms=N is the id of the thread that worked on it, N ms long.

usage: holder.py KIND [ADDRESS:]PORT [WORKERS [UPSTREAM]]
  threads   a thread for each connection reads, works and answers
  queue     one thread reads, a pool of WORKERS takes requests from a queue, works and answers
  executor  an event loop reads and answers, its pool of WORKERS works
  fork      one process reads and forks another for each request, which works and answers
  loop      an event loop alone: waits for time to pass, of use to no thread
Work is /work (sleeps), /spin (computes), and what the server at UPSTREAM (ADDRESS:PORT)
answers to /work: /call asks it once, /thrice three times on one connection, /many three
times at the same time, /fan three times in three threads.
"""
import asyncio
import concurrent.futures
import http.client
import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time
import urllib.parse

kind = sys.argv[1]
address, port = sys.argv[2].rsplit(":", 1) if ":" in sys.argv[2] else ("127.0.0.1", sys.argv[2])
workers = int(sys.argv[3]) if len(sys.argv) > 3 else 4
upstream = sys.argv[4] if len(sys.argv) > 4 else None


def target_of(head):
    url = urllib.parse.urlsplit(head.split()[1].decode())
    return url.path, url.query, int(dict(urllib.parse.parse_qsl(url.query)).get("ms", 0)) / 1000


def ask(path, connection=None):
    connection = connection or http.client.HTTPConnection(upstream, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().read()


def thrice(path):
    connection = http.client.HTTPConnection(upstream, timeout=30)
    return [ask(path, connection) for _ in range(3)]


def many(path):
    connections = [http.client.HTTPConnection(upstream, timeout=30) for _ in range(3)]
    for one in connections:
        one.request("GET", path)
    return [one.getresponse().read() for one in connections]


def fan(path):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return list(pool.map(ask, [path] * 3))


CALLS = {"/call": lambda path: [ask(path)], "/thrice": thrice, "/many": many, "/fan": fan}


def work(head):
    path, query, seconds = target_of(head)
    if path in CALLS:
        return b",".join(CALLS[path](f"/work?{query}"))
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
    listener = socket.create_server((address, int(port)), backlog=256)
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


def thread_server():
    def serve(connection):
        while head := connection.recv(65536):
            connection.sendall(answer(work(head)))
        connection.close()

    listener = socket.create_server((address, int(port)), backlog=256)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


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
        server = await asyncio.start_server(serve, address, int(port), backlog=256)
        await server.serve_forever()

    asyncio.run(main())


if kind == "threads":
    thread_server()
elif kind == "queue":
    queue_server()
elif kind == "fork":
    fork_server()
elif kind == "executor":
    loop_server(concurrent.futures.ThreadPoolExecutor(workers))
else:
    loop_server(None)
