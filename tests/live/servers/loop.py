# SPDX-License-Identifier: MIT
"""An asyncio server: loop.py PORT UPSTREAM-PORT
  /slow?ms=N   awaits a timer        /spin?ms=N  computes, and so nobody else gets a turn
  /call?ms=N   awaits the answer of the upstream server
"""
import asyncio
import sys
import time
import urllib.parse


async def call(ms):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    writer.write(b"GET /slow?ms=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % ms)
    await reader.read()
    writer.close()


def spin(ms):
    end = time.monotonic() + ms / 1000
    while time.monotonic() < end:
        sum(range(1000))


async def serve(reader, writer):
    while head := await reader.readline():
        while (await reader.readline()).strip():
            pass
        url = urllib.parse.urlsplit(head.split()[1].decode())
        ms = int(dict(urllib.parse.parse_qsl(url.query)).get("ms", 0))
        if url.path == "/spin":
            spin(ms)
        elif url.path == "/call":
            await call(ms)
        else:
            await asyncio.sleep(ms / 1000)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
