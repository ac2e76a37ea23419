"""The exception tree: what a caller caused or must know; everything else flies and is logged.

    PackhouseError
      Invalid              400  the request cannot be understood or breaks a rule
        NameInvalid        400  a repository, owner or project name
        DigestInvalid      400  not a digest, or not the digest of these bytes
      Unauthenticated      401  credentials are missing, wrong, expired or revoked
      Denied               403  known, and not allowed
      NotFound             404  unknown, or hidden: the two are never told apart
        BlobMissing        404  a key that holds no bytes
      NotAllowed           405  the operation is not possible on this thing now
      Conflict             409  it would contradict what exists
      TooLarge             413  over a configured limit
      RangeInvalid         416  bytes outside, or out of order
      TooManyRequests      429  over a rate limit
      Unavailable          503  a database or store that is busy or gone
      NoSpace              507  the disk, or the reserve kept for clean-up, is full

Each room adds its leaves; a surface (OCI, npm, ...) renders them in its own dialect by walking the
class's bases. Messages reach clients: they say what is wrong, what was expected, and what to do.
"""

from collections.abc import Mapping


class PackhouseError(Exception):
    """An answer to a client, in no dialect yet.

    `message` is one sentence for a person; `detail` is JSON for a program; `headers` go with the
    answer on every surface.
    """

    status = 500

    def __init__(
        self,
        message: str,
        *,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.headers = dict(headers or {})


class Invalid(PackhouseError):
    """The request cannot be understood or breaks a rule."""

    status = 400


class NameInvalid(Invalid):
    """A repository, owner or project name that the grammar refuses."""


class DigestInvalid(Invalid):
    """Not a digest, or not the digest of the bytes that came."""


class Unauthenticated(PackhouseError):
    """Credentials are missing, wrong, expired or revoked."""

    status = 401


class Denied(PackhouseError):
    """The principal is known, and may not."""

    status = 403


class NotFound(PackhouseError):
    """Unknown or hidden."""

    status = 404


class BlobMissing(NotFound):
    """A key that holds no bytes."""


class NotAllowed(PackhouseError):
    """The operation is not possible on this thing now."""

    status = 405


class Conflict(PackhouseError):
    """It would contradict what exists."""

    status = 409


class TooLarge(PackhouseError):
    """Over a configured limit."""

    status = 413


class RangeInvalid(PackhouseError):
    """Bytes outside what exists, or out of order."""

    status = 416


class TooManyRequests(PackhouseError):
    """Over a rate limit."""

    status = 429


class Unavailable(PackhouseError):
    """A database or store that is busy or gone; says when to try again."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"Retry-After": "5"})


class NoSpace(PackhouseError):
    """The disk, or the reserve kept for clean-up, is full."""

    status = 507
