"""What a blob's answer tells who sends its file."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from registry.blob_response import BlobResponse
from registry.open_files import OpenFile
from registry.zerocopy import EXTENSION, WINDOW


async def sent(file: OpenFile, stop: int) -> Mapping[str, Any]:
    """Return the message by which an answer hands a file over."""
    messages: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nothing is read")

    response = BlobResponse(file, 0, stop, 200, {"Content-Length": str(stop)})
    await response({"type": "http", "extensions": {EXTENSION: {}}}, receive, send)
    (message,) = [message for message in messages if message["type"] == EXTENSION]
    return message


@pytest.mark.parametrize("cached", [True, False])
async def test_a_small_file_is_asked_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cached: bool
) -> None:
    path = tmp_path / "object"
    path.write_bytes(b"bytes")
    monkeypatch.setattr(OpenFile, "is_cached", lambda *_: cached)
    assert (await sent(OpenFile(os.open(path, os.O_RDONLY)), 5))["cached"] is cached


async def test_of_a_large_file_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "object"
    with path.open("wb") as file:
        file.truncate(WINDOW + 1)
    assert "cached" not in await sent(OpenFile(os.open(path, os.O_RDONLY)), WINDOW + 1)
