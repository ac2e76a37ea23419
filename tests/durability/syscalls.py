"""What a server's system calls say about power loss, read from `strace -f -y`.

A file is at risk from its first write to the end of its next fsync or fdatasync; a name in a
directory from the call that made it to the end of the next fsync of that directory. When an answer
leaves a socket, nothing it acknowledges may be at risk.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

TRACED = (
    "openat,rename,renameat2,mkdir,mkdirat,link,linkat,unlink,fsync,fdatasync,"
    "write,writev,pwrite64,pwritev,sendto,sendmsg,ftruncate"
)
_CALL = re.compile(r"(\d+) +(\w+)\((.*)")
_UNFINISHED = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
_RESULT = re.compile(r"\) += (-?\d+)(?:<([^>]*)>)?")
_DESCRIPTOR = re.compile(r"-?\d+<([^>]*)>")
_STRINGS = re.compile(r'"((?:[^"\\]|\\.)*)"')
_STATUS = re.compile(r'"HTTP/1\.1 (\d{3}) ')
_WRITES = {"write", "writev", "pwrite64", "pwritev", "ftruncate"}
_SENDS = {"sendto", "sendmsg", "write", "writev"}


@dataclass(frozen=True, slots=True)
class Call:
    """One system call: its arguments as strace prints them, and its result once it has ended."""

    name: str
    arguments: str
    ended: bool
    succeeded: bool = False
    opened: str = ""


@dataclass(slots=True)
class Risks:
    """What would be lost if the power went now."""

    data: str
    unsynced: set[str] = field(default_factory=set)
    entries: dict[str, set[str]] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    answers: list[tuple[int, list[str]]] = field(default_factory=list)

    def follow(self, calls: Iterable[Call]) -> "Risks":
        for call in calls:
            status = _STATUS.search(call.arguments)
            if call.name in _SENDS and status and not call.ended:
                self.answers.append((int(status[1]), self.lost()))
            elif call.ended and call.succeeded:
                self._apply(call)
        return self

    def lost(self) -> list[str]:
        files = [path for path in self.unsynced if self._matters(path)]
        names = [name for made in self.entries.values() for name in made if self._matters(name)]
        return sorted(files) + [f"{name} (its name)" for name in sorted(names)]

    def _matters(self, path: str) -> bool:
        if path.startswith(f"{self.data}/blobs"):
            return True
        return path in (f"{self.data}/packhouse.db", f"{self.data}/packhouse.db-wal")

    def _apply(self, call: Call) -> None:
        strings = _STRINGS.findall(call.arguments)
        described = _DESCRIPTOR.search(call.arguments)
        if call.name == "openat":
            if "O_CREAT" in call.arguments:
                self._made(call.opened)
        elif call.name in ("mkdir", "mkdirat"):
            self._made(strings[-1])
        elif call.name in ("rename", "renameat2", "link", "linkat"):
            self._moved(strings[0], strings[1])
        elif call.name == "unlink":
            self._forget(strings[0])
        elif described is not None and call.name in ("fsync", "fdatasync"):
            self.unsynced.discard(described[1])
            self.entries.pop(described[1], None)
        elif described is not None and call.name in _WRITES:
            self.unsynced.add(described[1])

    def _made(self, path: str) -> None:
        if path not in self.known:
            self.known.add(path)
            self.entries.setdefault(str(PurePosixPath(path).parent), set()).add(path)

    def _moved(self, old: str, new: str) -> None:
        if old in self.unsynced:
            self.unsynced.add(new)
        self._forget(old)
        self.known.discard(new)
        self._made(new)

    def _forget(self, path: str) -> None:
        self.unsynced.discard(path)
        self.known.discard(path)
        for made in self.entries.values():
            made.discard(path)


def read(lines: Iterable[str]) -> Iterator[Call]:
    """Yield calls in order: each once when it begins, and once more when it ends."""
    begun: dict[str, str] = {}
    for line in lines:
        if unfinished := _UNFINISHED.match(line):
            pid, name, arguments = unfinished.groups()
            begun[pid] = arguments
            yield Call(name, arguments, ended=False)
        elif resumed := _RESUMED.match(line):
            pid, name, rest = resumed.groups()
            yield _ended(name, begun.pop(pid, "") + rest)
        elif whole := _CALL.match(line):
            _, name, arguments = whole.groups()
            yield Call(name, arguments, ended=False)
            yield _ended(name, arguments)


def _ended(name: str, text: str) -> Call:
    result = list(_RESULT.finditer(text))
    if not result:
        return Call(name, text, ended=True)
    last = result[-1]
    return Call(name, text, ended=True, succeeded=not last[1].startswith("-"), opened=last[2] or "")
