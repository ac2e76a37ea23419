"""Commands of `packhouse`, each a process of its own that need not read the code again.

Five hundred modules are read before a command does anything: half a second of a processor, which
the tests paid some thousand times. Here one server for each process of tests has read them, and
forks for every command. Arguments, environment, directory, streams and exit status are the
command's own. What a process is before its first line (bytecode, PYTHON... variables, Ctrl-C among
the imports) is not seen so; tests of that start the program itself.

For each command the server forks a keeper, which forks the command, waits for it, and tells its
process id and then its status.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from tempfile import TemporaryFile
from typing import Any


class Forks:
    """The client of one server; threads may share it."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P: this file's neighbours are not to be imported in place of what has their names.
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            self._server = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        """Let the server end; commands that run go on."""
        self._channel.close()
        self._server.wait()

    def run(
        self, words: Sequence[str], stdin: str, environment: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end. Raises TimeoutError, and then the command is killed."""
        job = {"words": words, "environment": environment, "directory": os.getcwd()}
        with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            status = self._run(job, [given.fileno(), out.fileno(), err.fileno()], seconds)
            out.seek(0)
            err.seek(0)
            said = out.read().decode(), err.read().decode()
            return subprocess.CompletedProcess(list(words), status, *said)

    def _run(self, job: dict[str, Any], streams: list[int], seconds: float) -> int:
        ours, theirs = socket.socketpair()
        with ours, ours.makefile() as answer:
            with theirs:
                socket.send_fds(self._channel, [b"."], [theirs.fileno(), *streams])
            ours.settimeout(seconds)
            ours.sendall(json.dumps(job).encode())
            ours.shutdown(socket.SHUT_WR)
            command = int(answer.readline())
            try:
                return int(answer.readline())
            except TimeoutError:
                os.kill(command, signal.SIGKILL)
                raise


@cache
def forks() -> Forks:
    """The server of this process's commands."""
    made = Forks()
    atexit.register(made.close)
    return made


def serve(channel: socket.socket) -> int:
    """Fork for each job until there is nobody to send one; in a command, return its status."""
    from registry import cli, program  # the tests, which import this file too, need neither

    assert cli
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    while True:
        _, received, _, _ = socket.recv_fds(channel, 1, 4)
        if not received:
            return 0
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            channel.close()
            with socket.socket(fileno=received[0]) as client:
                with client.makefile() as sent:
                    job = json.load(sent)
                if command := os.fork():
                    _keep(command, client)
            _become(job, received[1:])
            return program.main()
        for descriptor in received:
            os.close(descriptor)


def _keep(command: int, client: socket.socket) -> None:
    client.sendall(b"%d\n" % command)
    _, status = os.waitpid(command, 0)
    with suppress(BrokenPipeError):  # it took too long: nobody asks any more
        client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(job: dict[str, Any], streams: list[int]) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    os.chdir(job["directory"])
    sys.argv = ["packhouse", *job["words"]]


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1]))))
