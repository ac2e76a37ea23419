"""Archives as no sound program writes them."""

import gzip
from collections.abc import Mapping

EOF = bytes(1024)


def entry(
    name: str | bytes,
    data: bytes,
    kind: bytes = b"0",
    *,
    link: str = "",
    size: bytes | None = None,
    magic: bytes = b"ustar\x0000",
    sum_off_by: int = 0,
) -> bytes:
    """Return a tar entry; `size` is what its header says where that is not the data's."""
    header = bytearray(512)
    encoded = name.encode() if isinstance(name, str) else name
    header[: len(encoded[:100])] = encoded[:100]
    header[100:108] = b"0000644\0"
    header[124:136] = b"%011o\0" % len(data) if size is None else size
    header[136:148] = b"00000000000\0"
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[157 : 157 + len(link)] = link.encode()
    header[257:265] = magic
    header[148:156] = b"%06o\0 " % (sum(header) + sum_off_by)
    return bytes(header) + data + bytes(-len(data) % 512)


def pax(records: Mapping[str, str], kind: bytes = b"x") -> bytes:
    """Return the extended header that says `records` of the next entry (x) or of all (g)."""
    return entry("PaxHeader", b"".join(map(_record, records.items())), kind)


def tgz(*parts: bytes) -> bytes:
    """Return entries as an archive in gzip, the same bytes each time."""
    return gzip.compress(b"".join(parts) + EOF, mtime=0)


def _record(pair: tuple[str, str]) -> bytes:
    text = f" {pair[0]}={pair[1]}\n".encode()
    length = len(text)
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text
