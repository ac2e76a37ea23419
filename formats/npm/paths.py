"""What a path names: a package, and a version by its tarball."""

from collections.abc import Mapping

from formats.npm.names import PackageName, parse_pair
from registry.packaging.surface import Call
from storage.errors import NotFound

PACKAGE = "/@{owner}/{name}"


def package_in(values: Mapping[str, str]) -> PackageName:
    """Return the package that a path names. Raises NameInvalid."""
    return parse_pair("@" + values["owner"], values["name"])


def package_of(call: Call) -> str:
    """Return it as npm writes it: `@acme/pad`."""
    return package_in(call.values).text


def version_in(call: Call) -> str:
    """Return the version in a tarball's name. Raises NotFound."""
    name, file = call.values["name"], call.values["file"]
    if not (file.startswith(f"{name}-") and file.endswith(".tgz")):
        raise NotFound(f"{package_of(call)} has no file {file[:100]!r}")
    return file.removeprefix(f"{name}-").removesuffix(".tgz")
