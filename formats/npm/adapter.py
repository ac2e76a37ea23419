"""npm as the core sees it: the adapter of its packages."""

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from formats.npm import reading
from formats.npm.bundles import BUNDLES, parse_bundle
from formats.npm.changes import LATEST, check_message
from formats.npm.fragments import ABBREVIATED, FULL, render_fragments
from formats.npm.install import install_commands
from formats.npm.names import FORMAT, parse_name, parse_pair
from formats.npm.versions import parse_dist_tag, tag_of
from registry.packaging.format import InstallCommand, PublishedVersion, State, VersionFacts
from storage.digest import quoted
from storage.errors import Invalid, NameInvalid
from storage.names import RepositoryName, Tag, TagInvalid

ARTIFACT_TYPE = "application/vnd.packhouse.npm.package.v1"
METADATA_TYPE = "application/vnd.packhouse.npm.config.v1+json"
TARBALL_TYPE = "application/vnd.packhouse.npm.package.v1.tar+gzip"

DEPRECATED, ATTESTATIONS = "deprecated", "attestations"
MAX_ATTESTATIONS = 16
"""Types of what is attested of a version."""


class Npm:
    """Implements registry.packaging.format.Format. Nothing here is kept between calls."""

    name = FORMAT
    artifact_type = ARTIFACT_TYPE
    metadata_type = METADATA_TYPE
    default_alias = LATEST
    joined = (FULL, ABBREVIATED)
    attached = (BUNDLES,)

    def package_name(self, repository: RepositoryName, name: str) -> str:
        """Return `@acme/pad` for acme/npm/pad. Raises NameInvalid for what no package lives in."""
        package = parse_pair(f"@{repository.owner}", name)
        if package.repository != repository:
            raise NameInvalid(
                f"{repository} is not where an npm package of the name {quoted(package.text)} "
                f"lives: that is {package.repository}"
            )
        return package.text

    def media_type(self, file_name: str) -> str:
        """Return the type of a tarball. Raises Invalid for another file."""
        if not file_name.endswith(".tgz"):
            raise Invalid(f"{quoted(file_name)} is no file of an npm package: it has one, a .tgz")
        return TARBALL_TYPE

    def tag(self, version: str) -> Tag:
        """Return a version's tag, which is the version. Raises Invalid."""
        return tag_of(version)

    def is_alias(self, tag: Tag) -> bool:
        """Whether a tag may be a dist-tag."""
        try:
            parse_dist_tag(tag)
        except TagInvalid:
            return False
        return True

    def read(self, package: str, metadata: bytes, files: Mapping[str, BinaryIO]) -> VersionFacts:
        """Check a version against its tarball. Raises Invalid."""
        return reading.read(package, metadata, files)

    def check_state(self, state: Mapping[str, Any]) -> State:
        """Return a deprecation's message. Raises Invalid.

        An empty message is kept: it takes back one that was published with the version.
        """
        unknown = sorted(state.keys() - {DEPRECATED})
        if unknown:
            raise Invalid(f"{quoted(unknown[0])} is nothing that changes of an npm package")
        return {word: check_message(message) for word, message in state.items()}

    def install_commands(self, package: str, version: str, site: str) -> Sequence[InstallCommand]:
        """Return what to type for npm, pnpm, yarn and oras."""
        return install_commands(parse_name(package), version, f"{site}/{FORMAT}")

    def with_attached(self, version: PublishedVersion, files: Sequence[bytes]) -> Mapping[str, Any]:
        """Return the facts with the types of what bundles attest of the version."""
        named, hashes = (version.package, version.version), [file.sha512 for file in version.files]
        found = [one for one in map(parse_bundle, files) if one and one.is_about(*named, hashes)]
        types = [*version.computed.get(ATTESTATIONS, ()), *(one.predicate_type for one in found)]
        if not types:
            return version.computed
        return {
            **version.computed,
            ATTESTATIONS: sorted([*dict.fromkeys(types)][:MAX_ATTESTATIONS]),
        }

    def fragments(self, version: PublishedVersion) -> Mapping[str, bytes]:
        """Return the version as it stands in the full and in the abbreviated document."""
        return render_fragments(version)
