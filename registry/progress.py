"""How far long work is: a bar on a terminal, plain lines in a log."""

import asyncio
from typing import TextIO

_WIDTH = 30
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


class Progress:
    """Counts bytes of a total, and says so when a percentage (a log: a tenth) is full."""

    def __init__(self, what: str, total: int, out: TextIO) -> None:
        self._what = what
        self._total = total
        self._out = out
        self._bar = out.isatty()
        self._done = 0
        self._shown = 0

    def advance(self, amount: int) -> None:
        """Count `amount` more bytes."""
        self._done += amount
        percent = min(100, self._done * 100 // max(self._total, 1))
        if percent >= self._shown + (1 if self._bar else 10):
            self._shown = percent
            self._show(percent)

    def finish(self) -> None:
        """End the bar's line."""
        if self._bar and self._shown:
            print(file=self._out, flush=True)

    def _show(self, percent: int) -> None:
        counted = f"{shown_size(min(self._done, self._total))} of {shown_size(self._total)}"
        if self._bar:
            bar = ("#" * (percent * _WIDTH // 100)).ljust(_WIDTH, ".")
            print(f"\r{self._what} [{bar}] {percent:3} %  {counted} ", end="", file=self._out)
            self._out.flush()
        else:
            print(f"{self._what}: {percent} % ({counted})", file=self._out, flush=True)


class Pace:
    """Holds work to `rate` bytes a second; None is as fast as it goes."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def spend(self, amount: int) -> None:
        """Return when `amount` bytes have had their time."""
        if self._rate is None:
            return
        at = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, at) + amount / self._rate
        await asyncio.sleep(self._free_at - at)


def shown_size(size: int) -> str:
    """Render a number of bytes for a person: 1.5 GiB."""
    amount, unit = float(size), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{size} bytes"
