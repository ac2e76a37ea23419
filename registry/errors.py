"""What the OCI core says no with; the rest of the tree is in storage/errors.py.

Invalid              400
  ManifestInvalid    400  not a manifest, or one that contradicts itself
  SizeInvalid        400  a length that is not the one announced
TransferCut          408  a body that stood still or ended early
NotFound             404
  BlobUnknown        404
  ManifestUnknown    404
  UploadUnknown      404
  ContentMissing     404  a manifest names content this repository does not hold
RangeInvalid         416
  OutOfOrder         416  a chunk that does not start where the upload stands
Denied               403
  ReservedName       403
Conflict             409
  VersionExists      409  a version's name, which never takes other bytes
"""

from storage.errors import Conflict, Denied, Invalid, NotFound, PackhouseError, RangeInvalid


class ManifestInvalid(Invalid):
    """Not a manifest, or one that contradicts itself or what it names."""


class SizeInvalid(Invalid):
    """A length that is not the one announced."""


class UploadInvalid(Invalid):
    """An upload request that cannot be understood."""


class TransferCut(PackhouseError):
    """A body that stood still for too long or ended early; what came may have been kept."""

    status = 408

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"Connection": "close"})


class BlobUnknown(NotFound):
    """This repository holds no such blob."""


class ManifestUnknown(NotFound):
    """This repository holds no such manifest or tag."""


class UploadUnknown(NotFound):
    """No such upload: never begun here, finished, cancelled, or too old."""


class ContentMissing(NotFound):
    """A manifest names a blob or manifest that this repository does not hold."""


class OutOfOrder(RangeInvalid):
    """A chunk that does not start where the upload stands."""


class ReservedName(Denied):
    """A name kept for a package format."""


class VersionExists(Conflict):
    """A version of that name is there, or was: it never takes other bytes."""
