# SPDX-License-Identifier: MIT
"""An HTTP/1.1 server in one event loop: events.py PORT. Every path is answered with
'ok', /interrupted with the number of select calls of another thread that EINTR ended."""
import asyncio
import ctypes
import errno
import sys
import threading

interrupted = 0


def wait_in_epoll():
    """epoll_wait as the C library gives it: Python's own hides that it was interrupted."""
    global interrupted
    libc = ctypes.CDLL(None, use_errno=True)
    epoll, event = libc.epoll_create1(0), ctypes.create_string_buffer(16)
    while True:
        if libc.epoll_wait(epoll, event, 1, 20) < 0 and ctypes.get_errno() == errno.EINTR:
            interrupted += 1


async def serve(reader, writer):
    while head := await reader.readline():
        while (await reader.readline()).strip():
            pass
        body = str(interrupted).encode() if head.split()[1] == b"/interrupted" else b"ok"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
    writer.close()


async def main():
    threading.Thread(target=wait_in_epoll, daemon=True).start()
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
