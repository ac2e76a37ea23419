"""The contract between the core and the adapter of a package format.

A package of a format is the repository `owner/<format>/<name>`; a version of it is a manifest whose
config is the format's own metadata, verbatim, and whose layers are its files under their real
names. The core knows adapters by this contract alone, and `registry/app.py` hands them to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from registry.package_texts import PackageText
from storage.digest import Digest
from storage.names import RepositoryName, Tag

State = Mapping[str, Any]
"""Facts of a version that change without changing bytes, as JSON: {"deprecated": "use pad2"}."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store, with its digest and, in hex, the hashes that package clients know.

    `key` is where its bytes lie, "" once it belongs to a version. `held` are the bytes of a small
    one that is not in the store yet.
    """

    name: str
    media_type: str
    digest: Digest
    size: int
    md5: str
    sha1: str
    sha512: str
    key: str = ""
    held: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """Where a version stands among others: keys compare as text, the newest is the largest."""

    key: str
    prerelease: bool


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A version as its adapter read it from its metadata and its files.

    `metadata` is JSON and becomes the config, byte for byte; `computed` is what the adapter found
    out besides, and gets back for rendering (sizes, counts).
    """

    version: str
    order: Order
    metadata: bytes
    text: PackageText
    computed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """What a fragment is rendered from: all of it is kept with the version.

    `publisher` is the name of the account that published it, "" where it has no row any more.
    """

    package: str
    version: str
    metadata: bytes
    computed: Mapping[str, Any]
    files: Sequence[StoredFile]
    state: State
    published_at: int
    publisher: str = ""


@dataclass(frozen=True, slots=True)
class InstallCommand:
    """What to type for a client; `lines` are for a shell."""

    client: str
    lines: tuple[str, ...]


class Format(Protocol):
    """An adapter, as the core sees it. Every method is pure."""

    @property
    def name(self) -> str:
        """Its word in URLs and repositories: `npm`."""

    @property
    def artifact_type(self) -> str:
        """The artifactType of its versions' manifests."""

    @property
    def metadata_type(self) -> str:
        """The media type of their configs."""

    @property
    def default_alias(self) -> str:
        """The tag that names the newest version where nobody moved it; "" for none."""

    @property
    def joined(self) -> Sequence[str]:
        """The kinds of fragments of which a document joins those of all versions."""

    @property
    def attached(self) -> Sequence[str]:
        """How the artifact types of the referrers begin of which documents speak; () for none."""

    def package_name(self, repository: RepositoryName, name: str) -> str:
        """Return the true name of a package, whose row has `name`: `@acme/pad` for acme/npm/pad.

        Raises NameInvalid for a repository that no package of this format has.
        """

    def media_type(self, file_name: str) -> str:
        """Return the media type that a file has as a layer. Raises Invalid for no file of ours."""

    def tag(self, version: str) -> Tag:
        """Return the tag of a version. Raises Invalid for what is no version."""

    def is_alias(self, tag: Tag) -> bool:
        """Whether a tag may name a version whose own tag it is not."""

    def read(self, package: str, metadata: bytes, files: Mapping[str, BinaryIO]) -> VersionFacts:
        """Check a version against its files, as if its own client had published it.

        It runs in a thread, and reads of the files what it needs. Raises Invalid.
        """

    def check_state(self, state: Mapping[str, Any]) -> State:
        """Return the state as it may be kept. Raises Invalid."""

    def with_attached(self, version: PublishedVersion, files: Sequence[bytes]) -> Mapping[str, Any]:
        """Return `version.computed` with what the files of referrers add to it.

        Whoever may push attaches what he likes: what is not about this version adds nothing. It
        runs in a thread.
        """

    def fragments(self, version: PublishedVersion) -> Mapping[str, bytes]:
        """Return the version's part of each kind of document about its package."""

    def install_commands(self, package: str, version: str, site: str) -> Sequence[InstallCommand]:
        """Return how each client installs a version; `site` is this server's URL.

        Names and versions were parsed before, and hold nothing that a shell reads.
        """
