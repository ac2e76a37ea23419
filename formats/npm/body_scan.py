"""Where the attachments of a publish begin, found in JSON that is still coming.

Only brackets and strings are followed, so that megabytes pass at the speed of a regular expression;
the document that is left is read strictly by others. In JSON this finds every attachment's data; in
what is none it may find something else, which is refused with the document.
"""

import json
import re

from storage.errors import Invalid, TooLarge

MAX_DOCUMENT = 8 * 1024 * 1024
"""Bytes of a body beside the data of its attachments."""
BYTES_OF_A_VALUE = 16
"""A document has fewer values than bytes / 16: decoded, each of them takes dozens."""
MAX_DEPTH = 64
MAX_FOLLOWED = 1000
"""Members of the body, its attachments and each of them, which are read one by one."""

_ATTACHMENTS = "_attachments"
_DATA, _CONTENT_TYPE = "data", "content_type"
_DEEPEST = 3
"""Objects that are followed: the body, its attachments, and each of them."""

_SIGN = re.compile(rb'["\[\]{},]')
_BESIDE = re.compile(rb'[^\[\]{}"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^\[\]{}"]*+)*+', re.DOTALL)
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class BodyScan:
    """A document as it grows, read once: `add`, ask for `attachment`, `cut` there and `resume`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.content_type = ""
        self._document = bytearray()
        self._at = 0
        self._string: int | None = None  # where the string begins that we are in
        self._skipped = 0  # brackets that are open in a value that is not followed
        self._keys: list[str] = []  # of the objects that are followed
        self._wants_key = False
        self._closed = False
        self._nodes = 0
        self._followed = 0

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._document += piece

    def attachment(self) -> str | None:
        """Return the name of an attachment whose data is next, None where more must come first.

        Raises Invalid, TooLarge.
        """
        name = self._find()
        if name is None and len(self._document) > self._most:
            raise TooLarge(
                f"a publish holds at most {self._most} bytes beside its tarball: "
                "shorten its metadata"
            )
        return name

    def cut(self) -> bytes:
        """Take out what follows the quote that begins an attachment's data.

        A document that attaches something is of one version, and smaller than one of them all.
        """
        self._most = min(self._most, MAX_DOCUMENT)
        rest = bytes(self._document[self._at :])
        del self._document[self._at :]
        return rest

    def resume(self, rest: bytes) -> None:
        """Go on with the quote that ends the data."""
        self._document += rest
        self._at += 1

    def finish(self) -> bytes:
        """Return the document. Raises Invalid, TooLarge."""
        if not self._closed:
            raise Invalid("the body is no JSON object, or ends before it does: publish again")
        self._count(self._document.count(b","))
        return bytes(self._document)

    def _find(self) -> str | None:
        while self._at < len(self._document):
            if self._string is not None:
                if not self._pass_string(self._string):
                    return None
            elif self._skipped:
                self._pass_value()
            elif self._pass_sign():
                return self._keys[1]
        return None

    def _pass_string(self, start: int) -> bool:
        """Go past the end of the string that we are in; False where that is still to come."""
        self._at = _end(_INSIDE, self._document, self._at)
        if self._document[self._at : self._at + 1] != b'"':
            return False
        self._at += 1
        self._string = None
        if self._keys and not self._skipped:
            self._note(start)
        return True

    def _note(self, start: int) -> None:
        """Remember the string that ended, where it is a key or the type of an attachment."""
        if self._wants_key:
            self._keys[-1] = self._text(start)
            self._wants_key = False
        elif self._is_at(_CONTENT_TYPE):
            self.content_type = self._text(start)

    def _is_at(self, key: str) -> bool:
        """Whether the value of this key of an attachment is what comes, or came."""
        keys = self._keys
        return (
            len(keys) == _DEEPEST
            and not self._wants_key
            and keys[0] == _ATTACHMENTS
            and keys[-1] == key
        )

    def _text(self, start: int) -> str:
        raw = bytes(self._document[start : self._at])
        try:
            text: str = json.loads(raw) if b"\\" in raw else raw[1:-1].decode()
        except ValueError as error:
            raise Invalid("the body is not JSON: it holds a string that cannot be read") from error
        return text

    def _pass_value(self) -> None:
        """Go past the next bracket in a value that is not followed, or into a string cut short."""
        at = _end(_BESIDE, self._document, self._at)
        self._at = at + 1
        sign = bytes(self._document[at : at + 1])
        if sign == b'"':
            self._string = at
        elif sign in (b"{", b"["):
            self._skipped += 1
            self._count(1)
        elif sign:
            self._skipped -= 1
        else:
            self._at = at
        if self._skipped + len(self._keys) > MAX_DEPTH:
            raise Invalid(f"the body holds more than {MAX_DEPTH} objects and lists in each other")

    def _count(self, more: int) -> None:
        self._nodes += more
        most = self._most // BYTES_OF_A_VALUE
        if self._nodes > most:
            raise TooLarge(f"a publish holds at most {most} values: shorten its metadata")

    def _pass_sign(self) -> bool:
        """Go past the next bracket or comma, or into a string; True where that is data."""
        found = _SIGN.search(self._document, self._at)
        self._at = found.end() if found else len(self._document)
        sign = found[0] if found else b""
        if found and sign == b'"':
            if self._is_at(_DATA):
                return True
            self._string = found.start()
        elif sign in (b"{", b"["):
            self._open(sign)
        elif sign == b",":
            self._wants_key = True
            self._followed += 1
            if self._followed > MAX_FOLLOWED:
                raise TooLarge(f"a publish holds at most {MAX_FOLLOWED} fields beside its version")
        elif sign and self._keys:
            self._keys.pop()
            self._closed = not self._keys
        return False

    def _open(self, sign: bytes) -> None:
        """Follow an object if an attachment may be in it."""
        level = len(self._keys)
        if sign == b"{" and (not level or (level < _DEEPEST and self._keys[0] == _ATTACHMENTS)):
            self._keys.append("")
            self._wants_key = True
            self.content_type = ""
        else:
            self._skipped = 1


def _end(pattern: re.Pattern[bytes], document: bytearray, start: int) -> int:
    """Return where a pattern that matches anything, and nothing, stops."""
    found = pattern.match(document, start)
    return found.end() if found else start
