# SPDX-License-Identifier: MIT
"""Threads with frames, one line each: 'TID function file:line <- ...'. Of 'jstack -l' output
given as files, those that are the same in all of them; or of our own JSON with --ours."""
import json
import re
import sys


def theirs(path):
    threads, frames = {}, None
    for line in open(path):
        head = re.search(r'^.*".*\bnid=(0x[0-9a-f]+|\d+) ', line)
        frame = re.match(r"\tat (.*)\((?:[^/)]*/)?([^)]*)\)$", line)
        if head:
            frames = threads[int(head[1], 0)] = []
        elif line.startswith("Found "):
            break
        elif frame and frames is not None:
            place = "" if frame[2] in ("Native Method", "Unknown Source") else " " + frame[2]
            frames.append(frame[1] + place)
    return {tid: " <- ".join(f) for tid, f in threads.items() if f}


def ours(path):
    threads = json.load(open(path))["analysis"]["thread"]
    say = lambda f: f["function"] + (" %s:%d" % (f["file"], f["line"]) if f.get("file") else "")
    return {t["tid"]: " <- ".join(map(say, t["script"]["frame"])) for t in threads if t.get("script", {}).get("frame")}


if sys.argv[1] == "--ours":
    said = ours(sys.argv[2])
else:
    said, *others = map(theirs, sys.argv[1:])
    said = {tid: f for tid, f in said.items() if all(o.get(tid) == f for o in others)}
for tid in sorted(said):
    print(tid, said[tid])
