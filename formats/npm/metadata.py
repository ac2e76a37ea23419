"""What a client publishes: the body of its PUT, read as one version of one package.

Reading list: libnpmpublish lib/publish.js (buildMetadata), which pnpm, yarn and lerna follow; npm
registry docs, package-metadata.md.

The version object becomes the config byte for byte. Only what we act on is decoded and judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auth.principals import Visibility
from formats.npm.members import members, parse_object, text_in
from formats.npm.names import PackageName
from formats.npm.versions import check_version, parse_dist_tag, tag_of
from storage.digest import quoted
from storage.errors import Invalid
from storage.names import Tag

MAX_TAGS = 20
"""Dist-tags of one publish; clients send one."""
MAX_ATTACHMENT_TYPE = 200

_DEPENDENCIES = ("dependencies", "optionalDependencies", "peerDependencies")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as the body announces it; `length` is None where it does not say."""

    name: str
    content_type: str
    length: int | None


@dataclass(frozen=True, slots=True)
class Publication:
    """A version as a client publishes it.

    `metadata` is the version object as it was written. `provenance` is the sigstore bundle that may
    come beside the tarball. `access` is "public", "restricted" or "" where nothing was asked for.
    """

    package: PackageName
    version: str
    metadata: bytes
    dist_tags: Mapping[Tag, str]
    access: str
    tarball: Attachment
    provenance: Attachment | None


def parse_publish(data: bytes, package: PackageName) -> Publication:
    """Read the body of `PUT /<package>`, in which the attachments' data may be anything.

    Raises Invalid for what is no publication of one version of this package.
    """
    document = parse_object(data, "the body")
    _check_name(document, package, "the body")
    versions = _object(document, "versions")
    if len(versions) != 1:
        raise Invalid(f"publish one version at a time: the body holds {len(versions)}")
    version = check_version(next(iter(versions)))
    tag_of(version)
    metadata = members(members(data)["versions"])[version]
    check_version_object(versions[version], package, version)
    tarball, provenance = _attachments(document, package, version)
    return Publication(
        package=package,
        version=version,
        metadata=metadata,
        dist_tags=_dist_tags(document, version),
        access=_access(document),
        tarball=tarball,
        provenance=provenance,
    )


def access_notice(publication: Publication, visibility: Visibility) -> str:
    """Return what a publisher is told whose `--access` the package does not follow; "" else.

    Who sees a package is decided by its owner and its project: publishing never opens one, nor
    closes one that others install.
    """
    asked, package = publication.access, publication.package
    if not asked or (asked == "public") == (visibility is Visibility.PUBLIC):
        return ""
    wanted = "public" if asked == "public" else "private"
    return (
        f"{package.text} is {visibility.name.lower()}, which publishing does not change: "
        f"'packhouse package visibility {package.repository} {wanted}' does"
    )


def check_version_object(document: Mapping[str, Any], package: PackageName, version: str) -> None:
    """Refuse a version object that is of another version, or that clients could not install.

    Raises Invalid.
    """
    if not isinstance(document, Mapping):
        raise Invalid(f"version {version} is not a JSON object")
    said = (text_in(document, "name"), text_in(document, "version"))
    if said != (package.text, version):
        raise Invalid(f"version {version} of {package.text} calls itself {quoted('@'.join(said))}")
    id_ = f"{package.text}@{version}"
    if document.get("_id", id_) != id_:
        raise Invalid(f"version {version} has another _id than {id_}")
    for field in _DEPENDENCIES:
        _check_dependencies(document.get(field), field)
    if not isinstance(document.get("dist") or {}, Mapping):
        raise Invalid("'dist' is not an object")


def _check_dependencies(value: object, field: str) -> None:
    if not value:
        return
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
        raise Invalid(f"'{field}' is not an object of names, each with a range of versions")


def _check_name(document: Mapping[str, Any], package: PackageName, what: str) -> None:
    name = text_in(document, "name")
    if name != package.text:
        raise Invalid(f"{what} is of {quoted(name)}, not of {package.text} as its URL says")
    if document.get("_id", name) != name:
        raise Invalid(f"{what} has another _id than {package.text}")


def _attachments(
    document: Mapping[str, Any], package: PackageName, version: str
) -> tuple[Attachment, Attachment | None]:
    """Return tarball and provenance. npm's names begin with the scope, other clients' do not."""
    found = {}
    for name, value in _object(document, "_attachments").items():
        ending = name.rpartition(".")[2]
        stem = name.removeprefix(f"@{package.owner}/").removesuffix(f".{ending}")
        expected = ending in ("tgz", "sigstore") and stem == f"{package.name}-{version}"
        if not expected or ending in found or not isinstance(value, Mapping):
            raise Invalid(
                f"attachment {quoted(name)} is not expected: attach {package.file(version)}, "
                "once, and at most its provenance"
            )
        found[ending] = _attachment(name, value)
    if "tgz" not in found:
        raise Invalid(f"the body attaches no {package.file(version)}")
    return found["tgz"], found.get("sigstore")


def _attachment(name: str, value: Mapping[str, Any]) -> Attachment:
    content_type, length = value.get("content_type") or "", value.get("length")
    if not isinstance(content_type, str) or len(content_type) > MAX_ATTACHMENT_TYPE:
        raise Invalid(f"attachment {quoted(name)} has no content_type that is text")
    if length is not None and (type(length) is not int or length < 0):
        raise Invalid(f"attachment {quoted(name)} has no length that is a number of bytes")
    return Attachment(name, content_type, length)


def _dist_tags(document: Mapping[str, Any], version: str) -> dict[Tag, str]:
    tags = document.get("dist-tags") or {}
    if not isinstance(tags, Mapping) or len(tags) > MAX_TAGS:
        raise Invalid(f"'dist-tags' is not an object of at most {MAX_TAGS} tags")
    for tag, named in tags.items():
        if named != version:
            raise Invalid(f"dist-tag {quoted(tag)} names another version than {version}")
    return {parse_dist_tag(tag): version for tag in tags}


def _access(document: Mapping[str, Any]) -> str:
    access = document.get("access") or ""
    if access not in ("", "public", "restricted"):
        raise Invalid("'access' is neither 'public' nor 'restricted'")
    return str(access)


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, Mapping):
        raise Invalid(f"the body has no object '{key}'")
    return value
