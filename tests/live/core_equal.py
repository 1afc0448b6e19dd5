#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is a core equal to the one that gcore writes of the same stopped process?

core_equal.py pages OURS THEIRS PID JSON [earlier]
                                           every page of both; JSON is what 'dump --json' said;
                                           earlier: ours is from before the process was stopped
core_equal.py notes OURS THEIRS            registers of each thread, auxv, files, name
core_equal.py stacks TOOL <OUTPUT          backtraces as TOOL prints them, sorted by thread

Prints its figures in one line (stacks: the frames); exits 1 with the first differences."""
import bisect
import json
import os
import re
import struct
import sys

PAGE = 4096
ZERO = bytes(PAGE)
STEP = 1 << 20
SEEK_DATA = os.SEEK_DATA

NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV, NT_FILE, NT_XSTATE = 1, 2, 3, 6, 0x46494C45, 0x202


def fail(text):
    print(text)
    sys.exit(1)


class Core:
    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.fd).st_size
        head = os.pread(self.fd, 64, 0)
        assert head[:4] == b"\x7fELF" and struct.unpack_from("<H", head, 16)[0] == 4, f"{path}: not a core"
        phoff, shoff = struct.unpack_from("<QQ", head, 32)
        phentsize, phnum = struct.unpack_from("<HH", head, 54)
        if phnum == 0xFFFF:
            phnum = struct.unpack("<I", os.pread(self.fd, 4, shoff + 44))[0]
        table = os.pread(self.fd, phentsize * phnum, phoff)
        self.loads, self.notes = [], []
        for i in range(phnum):
            kind, flags, offset, vaddr, _, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", table, i * phentsize)
            if kind == 1 and memsz:
                self.loads.append((vaddr, memsz, filesz, offset, flags))
            elif kind == 4:
                self.read_notes(os.pread(self.fd, filesz, offset))
        self.loads.sort()
        self.starts = [load[0] for load in self.loads]

    def read_notes(self, data):
        at = 0
        while at + 12 <= len(data):
            namesz, descsz, kind = struct.unpack_from("<III", data, at)
            at += 12
            name = data[at:at + namesz].rstrip(b"\0")
            at += (namesz + 3) & ~3
            self.notes.append((name, kind, data[at:at + descsz]))
            at += (descsz + 3) & ~3

    def note(self, kind):
        return next((n for name, k, n in self.notes if k == kind and name == b"CORE"), b"")

    def threads(self):
        """{tid: (registers, floating point, xstate)} and the tids in the order of the core"""
        out, order = {}, []
        for name, kind, data in self.notes:
            if kind == NT_PRSTATUS and name == b"CORE":
                tid = struct.unpack_from("<i", data, 32)[0]
                order.append(tid)
                out[tid] = [struct.unpack_from("<27Q", data, 112), None, None]
            elif kind == NT_FPREGSET and name == b"CORE":
                out[order[-1]][1] = data
            elif kind == NT_XSTATE and name == b"LINUX":
                out[order[-1]][2] = data
        return out, order

    def files(self):
        data = self.note(NT_FILE)
        if not data:
            return []
        count, unit = struct.unpack_from("<QQ", data)
        names = data[16 + 24 * count:].split(b"\0")
        rows = [struct.unpack_from("<QQQ", data, 16 + 24 * i) for i in range(count)]
        return sorted((start, end, pgoff * unit, name) for (start, end, pgoff), name in zip(rows, names))

    def find(self, addr):
        """The segment's part from addr on: (bytes left, file offset, or None where it has no data); or None."""
        i = bisect.bisect_right(self.starts, addr) - 1
        if i >= 0:
            vaddr, memsz, filesz, offset, _ = self.loads[i]
            at = addr - vaddr
            if at < filesz:
                return filesz - at, offset + at
            if at < memsz:
                return memsz - at, None
        return None

    def next_start(self, addr):
        i = bisect.bisect_right(self.starts, addr)
        return self.starts[i] if i < len(self.starts) else 1 << 64

    def data(self):
        for vaddr, _, filesz, offset, _ in self.loads:
            if filesz:
                yield vaddr, filesz, offset

    def read(self, offset, size):
        """What lies there; None for a hole."""
        try:
            if os.lseek(self.fd, offset, SEEK_DATA) >= offset + size:
                return None
        except OSError:
            return None
        return os.pread(self.fd, size, offset)


class Mapped:
    """The pages of mapped files, as the process would see them had nobody changed them."""

    def __init__(self, pid, files):
        self.pid, self.files, self.fds = pid, files, {}
        self.starts = [row[0] for row in files]

    def page(self, addr):
        i = bisect.bisect_right(self.starts, addr) - 1
        if i < 0 or addr >= self.files[i][1]:
            return None
        start, end, offset, _ = self.files[i]
        if i not in self.fds:
            self.fds[i] = os.open(f"/proc/{self.pid}/map_files/{start:x}-{end:x}", os.O_RDONLY)
        return os.pread(self.fds[i], PAGE, offset + addr - start).ljust(PAGE, b"\0")


def in_rseq(a, b):
    """The kernel itself writes the CPU's number into a thread's rseq area, which is aligned like this."""
    where = [k for k in range(PAGE) if a[k] != b[k]]
    return where[0] // 32 == where[-1] // 32


def pages(ours, theirs, pid, said, earlier):
    ours, theirs = Core(ours), Core(theirs)
    mapped = Mapped(pid, ours.files())
    omitted = [tuple(int(n, 16) for n in re.findall(r"[0-9a-f]{4,}", row["range"])[:2]) for row in said["omitted"]]
    live = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    count = dict.fromkeys(("equal", "zero", "file", "omitted", "unreadable", "alone", "rseq"), 0)
    wrong = []

    def readable(addr):
        try:
            return os.pread(live, PAGE, addr) != b""
        except (OSError, OverflowError):  # the latter: the upper half, where only [vsyscall] is
            return False

    def missing(addr, page):
        if page == mapped.page(addr):
            count["file"] += 1
        elif page == ZERO and ours.find(addr):
            count["zero"] += 1
        elif any(start <= addr < end for start, end in omitted):
            count["omitted"] += 1
        elif page == ZERO and not readable(addr):
            count["unreadable"] += 1  # [vsyscall]: for what it cannot read gcore writes zeros
        else:
            wrong.append(f"page {addr:x} is missing")

    # What gcore has.
    for vaddr, size, offset in theirs.data():
        at = 0
        while at < size:
            addr, n = vaddr + at, min(STEP, size - at)
            here = ours.find(addr)
            n = min(n, here[0] if here else ours.next_start(addr) - addr)
            a = theirs.read(offset + at, n)
            b = ours.read(here[1], n) if here and here[1] is not None else None
            there = here is not None and here[1] is not None
            if there and (a or bytes(n)) == (b or bytes(n)):
                count["equal"] += n // PAGE
            else:
                a = a or bytes(n)
                b = b or bytes(n)
                for i in range(0, n, PAGE):
                    if not there:
                        missing(addr + i, a[i:i + PAGE])
                    elif a[i:i + PAGE] == b[i:i + PAGE]:
                        count["equal"] += 1
                    elif earlier and in_rseq(a[i:i + PAGE], b[i:i + PAGE]):
                        count["rseq"] += 1
                    else:
                        k = next(k for k in range(PAGE) if a[i + k] != b[i + k])
                        wrong.append(f"page {addr + i:x} differs from byte {k} on: "
                                     f"{b[i + k:i + k + 16].hex()}, gcore has {a[i + k:i + k + 16].hex()}")
            at += n

    # What only we have is as it is in the process, which stands still.
    for vaddr, size, offset in ours.data():
        at = 0
        while at < size:
            addr = vaddr + at
            here = theirs.find(addr)
            if here and here[1] is not None:
                at += here[0]
                continue
            n = min(STEP, size - at, here[0] if here else theirs.next_start(addr) - addr)
            mine = ours.read(offset + at, n) or bytes(n)
            real = os.pread(live, n, addr)
            for i in range(0, n, PAGE):
                if mine[i:i + PAGE] == real[i:i + PAGE]:
                    count["alone"] += 1
                else:
                    wrong.append(f"page {addr + i:x}, which gcore has not, differs from the process")
            at += n
    if wrong:
        fail("\n".join(wrong[:10] + [f"{len(wrong)} pages in all; {count}"]))
    print("{equal} pages equal, {zero} absent ones are zero, {file} equal the file, {omitted} listed as left out, "
          "{unreadable} unreadable, {rseq} but for an rseq area; {alone} only ours, as in the process".format(**count))


# not the state: each dumper has its own in it
PSINFO = (("nice", "<b", 3), ("uid", "<I", 16), ("gid", "<I", 20), ("pid", "<i", 24),
          ("ppid", "<i", 28), ("pgrp", "<i", 32), ("sid", "<i", 36), ("psargs", "80s", 56))
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
             "ds es fs gs").split()


with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:
    XSTATE_END = 832 if "AuthenticAMD" in cpuinfo.read(4096) else None


def first_difference(a, b):
    if len(a) != len(b):
        return f"{len(a)} bytes, gcore has {len(b)}"
    k = next(k for k in range(len(a)) if a[k] != b[k])
    return f"byte {k}: {a[k:k + 16].hex()}, gcore has {b[k:k + 16].hex()}"


def extended(fp, xstate):
    """FPREGSET and XSTATE as comparable bytes. Left out: MXCSR_MASK and the words that the kernel keeps for itself
    behind the registers (gdb writes 0), and which components are in their initial state: gdb writes these out.
    gdb reads AMD's layout as if it were Intel's and so loses k0-k7 and all above; there only what both share, up to
    the upper halves of ymm0-15, is compared."""
    return fp[:28] + fp[32:416], xstate[:28] + xstate[32:416] + xstate[576:XSTATE_END] if xstate else b""


def notes(ours, theirs):
    ours, theirs = Core(ours), Core(theirs)
    (a, _), (b, _) = ours.threads(), theirs.threads()
    wrong = []
    if a.keys() != b.keys():
        fail(f"threads {sorted(a)}, gcore has {sorted(b)}")
    for tid, (regs, fp, xstate) in b.items():
        mine = a[tid]
        wrong += [f"thread {tid}: {name} is {x:x}, gcore has {y:x}"
                  for name, x, y in zip(REGISTERS, mine[0], regs) if x != y]
        for name, x, y in zip(("FPREGSET", "XSTATE"), extended(mine[1], mine[2]), extended(fp, xstate)):
            if x != y:
                wrong.append(f"thread {tid}: {name}: {first_difference(x, y)}")
        if mine[2] and xstate and mine[2][512] & ~xstate[512]:
            wrong.append(f"thread {tid}: XSTATE_BV is {mine[2][512]:x}, gcore has {xstate[512]:x}")
    if ours.note(NT_AUXV) != theirs.note(NT_AUXV):
        wrong.append(f"AUXV: {first_difference(ours.note(NT_AUXV), theirs.note(NT_AUXV))}")
    x, y = set(ours.files()), set(theirs.files())
    wrong += [f"file {row} is ours alone" for row in sorted(x - y)] + [f"file {row} is gcore's alone" for row in sorted(y - x)]
    for name, form, at in PSINFO:
        x, y = (struct.unpack_from(form, core.note(NT_PRPSINFO), at)[0] for core in (ours, theirs))
        if name == "psargs":  # gdb knows the first argument only
            x, y = x.rstrip(b" \0")[:len(y.rstrip(b" \0"))], y.rstrip(b" \0")
        if x != y:
            wrong.append(f"PRPSINFO: {name} is {x!r}, gcore has {y!r}")
    if wrong:
        fail("\n".join(wrong[:12] + [f"{len(wrong)} differences"]))
    print(f"{len(a)} threads, {sum(1 for t in a.values() if t[2])} with XSTATE, {len(ours.files())} files: notes equal")


def stacks(tool):
    """Threads as 'TID', frames below. What a tool says of its own doing is dropped."""
    head = {
        "gdb": re.compile(r"^Thread \d+ \((?:.*\(LWP (\d+)\)|LWP (\d+))(?: .*)?\)"),
        "eu-stack": re.compile(r"^TID (\d+):"),
        "lldb": re.compile(r"^[ *]+thread #(\d+), "),
    }[tool]
    frame = re.compile(r"^[ *]+frame #\d+: " if tool == "lldb" else r"^#")
    tids, found, here = {}, {}, None
    for line in sys.stdin.buffer.read().decode(errors="replace").splitlines():
        listed = re.match(r"^[ *]+thread #(\d+): tid = (\d+|0x[0-9a-f]+)", line) if tool == "lldb" else None
        m = head.match(line)
        if listed:
            tids[listed.group(1)] = str(int(listed.group(2), 0))
            found.clear()  # where it stopped, said at the begin
        elif m:
            tid = next(g for g in m.groups() if g)
            here = found.setdefault(tids.get(tid, tid), [])
        elif here is not None and frame.match(line):
            nowhere = re.match(r"^#\d+ +0x([0-9a-f]{16})$", line)
            # What eu-stack takes for the caller of a stack's first frame may be any word,
            # of memory that a mini core has no need for.
            if nowhere and int(nowhere.group(1), 16) >= 1 << 47:
                continue
            # Where lldb keeps a value of its own.
            here.append(re.sub(r" @ 0x[0-9a-f]+", "", line.replace("*", " ")).strip())
        elif here is not None and tool == "gdb" and line.startswith("    ") and here:
            here[-1] += " " + line.strip()
    for tid in sorted(found, key=int):
        print(f"thread {tid}", *found[tid], sep="\n")


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    if verb == "pages":
        pages(args[0], args[1], int(args[2]), json.load(open(args[3])), "earlier" in args[4:])
    elif verb == "notes":
        notes(*args)
    else:
        stacks(*args)


main()
