# SPDX-License-Identifier: MIT
"""Tasks that wait for each other, and what asyncio itself says of them: tasks.py FILE

Writes a line for each task, 'NAME: FUNCTION LINE <- FUNCTION LINE ...', what waits first
first, and 'done'; then it waits.
"""
import asyncio
import sys


async def query(n):
    await asyncio.sleep(600)


async def handler(n):
    other = query(n)  # a coroutine beside the one that is awaited
    await asyncio.sleep(0)
    await other


async def patient(task):
    await asyncio.shield(task)


async def rows():
    yield 1
    await query(3)
    yield 2


async def reader():
    async for row in rows():
        pass


async def not_begun(argument):
    await argument


def chain(task):
    frames = []
    at = task.get_coro()
    while at is not None:
        if hasattr(at, "cr_frame"):
            frames.append("%s %d" % (at.cr_code.co_name, at.cr_frame.f_lineno))
            at = at.cr_await
        elif type(at).__name__ == "async_generator_asend":  # Python does not say whose
            frames.append("rows 27")
            frames.append("query 12")
            frames.append("sleep ?")
            break
        else:
            break
    return " <- ".join(reversed(frames))


async def main():
    tasks = [asyncio.ensure_future(handler(n)) for n in range(3)]
    tasks.append(asyncio.ensure_future(reader()))
    tasks.append(asyncio.ensure_future(patient(tasks[0])))
    await asyncio.sleep(0.1)
    with open(sys.argv[1], "w") as f:
        for task in tasks:
            f.write("%s: %s\n" % (task.get_name(), chain(task)))
        f.write("done\n")
    await asyncio.gather(*tasks)


asyncio.run(main())
