"""How far long work is: a bar on a terminal, plain lines in a log."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from registry.sizes import shown_size
from storage.periodic import Sleep

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class Progress:
    """Counts bytes, or things, of a total; in a log it says so when another tenth is done.

    A total of None is work whose end nobody knows: the bar says that it goes on, a log nothing.
    """

    def __init__(self, what: str, total: int | None, out: TextIO, unit: str = "bytes") -> None:
        self._what = what
        self._total = total
        self._out = out
        self._unit = unit
        self._done = 0
        self._tenths = 0
        self._bars = _bars(out, unit, counted=total is not None)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
            self._bars.add_task(self._what, total=self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def advance(self, amount: int) -> None:
        """Count `amount` more."""
        self._done += amount
        if self._total is None:
            return
        done = min(self._done, self._total)
        if self._bars is not None:
            for task in self._bars.task_ids:
                self._bars.update(task, completed=done)
            return
        percent = 100 if done == self._total else done * 100 // self._total
        if percent // 10 > self._tenths:
            self._tenths = percent // 10
            counted = f"{self._amount(done)} of {self._amount(self._total)}"
            self.say(f"{self._what}: {percent} % ({counted})")

    def say(self, line: str) -> None:
        """Write a line; on a terminal it stands above the bar."""
        if self._bars is not None:
            self._bars.console.print(line, markup=False, emoji=False)
        else:
            print(line, file=self._out, flush=True)

    def _amount(self, count: int) -> str:
        return shown_size(count) if self._unit == "bytes" else f"{count} {self._unit}"


def _bars(out: TextIO, unit: str, *, counted: bool) -> "Bars | None":
    if not out.isatty():
        return None
    from registry.bars import make_bars  # noqa: PLC0415 - its library is large

    return make_bars(out, unit, counted=counted)


class Pace:
    """Holds work to `rate` bytes a second; None is as fast as it goes."""

    def __init__(self, rate: int | None, sleep: Sleep = asyncio.sleep) -> None:
        self._rate = rate
        self._sleep = sleep
        self._free_at = 0.0

    async def spend(self, amount: int) -> None:
        """Return when `amount` bytes have had their time."""
        if self._rate is None:
            return
        at = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, at) + amount / self._rate
        await self._sleep(self._free_at - at)
