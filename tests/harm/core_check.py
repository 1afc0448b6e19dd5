#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""core_check.py CORE PID: is every byte that the core holds what the process holds?

The process must stand still by itself (all its threads asleep). Compares each PT_LOAD
with /proc/PID/mem. Prints 'N pages equal'; exits 1 with the first difference."""
import os
import struct
import sys


def segments(core):
    head = core.read(64)
    assert head[:4] == b"\x7fELF" and struct.unpack_from("<H", head, 16)[0] == 4, "not a core file"
    phoff, shoff = struct.unpack_from("<QQ", head, 32)
    phentsize, phnum = struct.unpack_from("<HH", head, 54)
    if phnum == 0xFFFF:
        core.seek(shoff + 44)
        phnum = struct.unpack("<I", core.read(4))[0]
    core.seek(phoff)
    table = core.read(phentsize * phnum)
    for i in range(phnum):
        kind, _, offset, vaddr, _, filesz, _, _ = struct.unpack_from("<IIQQQQQQ", table, i * phentsize)
        if kind == 1 and filesz:
            yield offset, vaddr, filesz


def main():
    core = open(sys.argv[1], "rb", buffering=0)
    mem = os.open(f"/proc/{sys.argv[2]}/mem", os.O_RDONLY)
    equal = rseq = 0
    for offset, vaddr, size in segments(core):
        at = 0
        while at < size:
            n = min(1 << 20, size - at)
            core.seek(offset + at)
            ours = core.read(n)
            theirs = os.pread(mem, n, vaddr + at)
            if ours != theirs:
                for page in range(0, n, 4096):
                    a, b = ours[page:page + 4096], theirs[page:page + 4096]
                    where = [i for i in range(len(a)) if a[i] != b[i]]
                    # the kernel itself writes the CPU's number into a thread's rseq area
                    if where and where[0] // 32 == where[-1] // 32:
                        rseq += 1
                    elif where:
                        print(f"page {vaddr + at + page:x} differs at {where[0]}-{where[-1]}")
                        sys.exit(1)
            equal += n // 4096
            at += n
    print(f"{equal - rseq} pages equal, {rseq} but for an rseq area")


main()
