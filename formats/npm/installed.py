"""What an installation acts on in a package.json, in one form for all ways to write it.

Reading list: npm's package.json page; @npmcli/package-json, lib/normalize.js ("prepare") and
lib/normalize-data.js, whose changes stand between the file and what npm publishes; hosted-git-info.

Installers read these fields from the registry's document before they download a package, and from
the package's own file after. A package whose two say different things ("manifest confusion") shows
one thing to who reviews it and does another.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]

INSTALL_SCRIPTS = ("preinstall", "install", "postinstall")
GYP = "node-gyp rebuild"
"""The script that npm publishes for a package with a .gyp file and none of those scripts."""

_HOSTS = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "bitbucket.org": "bitbucket",
    "gist.github.com": "gist",
    "git.sr.ht": "sourcehut",
}
_SHORTCUT = re.compile(r"(github|gitlab|bitbucket|gist|sourcehut):/{0,2}(?:[^@#]*@)?([^#]*)(#.*)?")
_GITHUB = re.compile(r"(?![.@/])([^\s:@/#]+/[^\s:@/#]+)(#.*)?")
_URL = re.compile(
    r"(?:(?:git\+)?(?:ssh|https?)://|git://|(?=[^/]*@))(?:[^@/#]*@)?(?:www\.)?([^/:#]+)[/:]([^#]*)(#.*)?"
)
_SPLIT = re.compile(r"[\s,]+")
_SPLIT_RANGE = re.compile(r":?[@\s><=]")
_BIN_FOLDER = re.compile(r"(?:\.[/\\])?node_modules[/\\]\.bin[\\/]")


def differences(published: Json, packed: Json) -> list[str]:
    """Return the fields in which what was published differs from the package's own file.

    The order is that of FIELDS. Both are decoded objects of any shape.
    """
    return [name for name, read in FIELDS.items() if not _agree(name, read, published, packed)]


def _agree(name: str, read: Callable[[Json], object], published: Json, packed: Json) -> bool:
    said, found = read(published), read(packed)
    if said == found:
        return True
    if name == "scripts":
        return _only_compiles(said, found)
    return name == "bin" and _from_directory(said, packed)


def _only_compiles(said: object, found: object) -> bool:
    """Whether npm and yarn 1 added the script that a .gyp file in the package stands for."""
    if not isinstance(said, Mapping) or not isinstance(found, Mapping):
        return False
    if "install" in found or "preinstall" in found or said.get("install") != GYP:
        return False
    return {name: script for name, script in said.items() if name != "install"} == found


def install_scripts(document: Json) -> dict[str, str]:
    """Return the scripts that run when a package is installed."""
    scripts = document.get("scripts")
    if not isinstance(scripts, Mapping):
        return {}
    found = {name: scripts.get(name) for name in INSTALL_SCRIPTS}
    return {
        name: _BIN_FOLDER.sub("", text, 1) if _BIN_FOLDER.match(text) else text
        for name, text in found.items()
        if isinstance(text, str) and text
    }


def dependencies(document: Json) -> dict[str, str]:
    """Return what must be installed with a package.

    An optional dependency may stand in both lists: older clients copied it. What is bundled counts
    as a dependency of any version.
    """
    bundled = dict.fromkeys(bundle(document), "*")
    found = bundled | entries(document.get("dependencies"))
    optional = entries(document.get("optionalDependencies"))
    return {name: range_ for name, range_ in found.items() if name not in optional}


def bundle(document: Json) -> list[str]:
    """Return the names of the dependencies that come inside the package, sorted."""
    said = document.get("bundleDependencies")
    if said is None:
        said = document.get("bundledDependencies")
    if said is True:
        return sorted(entries(document.get("dependencies")))
    names = said if isinstance(said, list | Mapping) else ()
    return sorted({name for name in names if isinstance(name, str) and name})


def entries(value: object) -> dict[str, str]:
    """Return dependencies by name: an object, or a text or list of name@range as of old."""
    if isinstance(value, str):
        value = _SPLIT.split(value.strip())
    if isinstance(value, list):
        value = dict(_entry(each.strip()) for each in value if isinstance(each, str) and each)
    if not isinstance(value, Mapping):
        return {}
    return {name: place(text) for name, text in value.items() if isinstance(text, str)}


def place(text: str) -> str:
    """Return a range as it is compared: a repository on a known host has one spelling."""
    text = text.strip()
    for pattern in (_SHORTCUT, _GITHUB, _URL):
        found = pattern.fullmatch(text)
        if found is None:
            continue
        host, path, commit = ("github", *found.groups()) if pattern is _GITHUB else found.groups()
        host = _HOSTS.get(host.lower(), host) if pattern is _URL else host
        if host in _HOSTS.values():
            path = path.strip("/").removesuffix(".git")
            return f"{host}:{path}{commit or ''}"
    return text


def commands(document: Json) -> dict[str, str]:
    """Return the commands of a package by name, each with its file."""
    said = document.get("bin")
    if isinstance(said, str) and said:
        said = {str(document.get("name", "")): said}
    elif isinstance(said, list):
        said = {posixpath.basename(each): each for each in said if isinstance(each, str)}
    if not isinstance(said, Mapping):
        return {}
    named = {
        posixpath.basename(_inside(name)): _inside(file)
        for name, file in said.items()
        if isinstance(file, str)
    }
    return {name: file for name, file in named.items() if name and file}


def _from_directory(said: object, packed: Json) -> bool:
    """Whether commands are the files of the folder that a file without `bin` names."""
    directories = packed.get("directories")
    folder = directories.get("bin") if isinstance(directories, Mapping) else None
    if commands(packed) or not isinstance(folder, str) or not isinstance(said, Mapping):
        return False
    start = f"{_inside(folder)}/"
    return all(
        file.startswith(start) and posixpath.basename(file) == name for name, file in said.items()
    )


def _inside(path: str) -> str:
    """Return a path as npm makes it safe: below the package, with plain slashes."""
    plain = re.sub(r"[\\:]", "/", path)
    return posixpath.normpath(f"/{plain}").strip("/")


def _entry(text: str) -> tuple[str, str]:
    found = _SPLIT_RANGE.search(text, 1)
    if found is None:
        return text, ""
    return text[: found.start()], text[found.start() :].removeprefix("@").strip()


def _list(name: str) -> Callable[[Json], object]:
    def read(document: Json) -> object:
        said = document.get(name)
        return [said] if isinstance(said, str) and said else said or []

    return read


def _plain(name: str) -> Callable[[Json], object]:
    return lambda document: document.get(name) or {}


FIELDS: Mapping[str, Callable[[Json], object]] = {
    "dependencies": dependencies,
    "optionalDependencies": lambda document: entries(document.get("optionalDependencies")),
    "peerDependencies": lambda document: entries(document.get("peerDependencies")),
    "peerDependenciesMeta": _plain("peerDependenciesMeta"),
    "bundleDependencies": bundle,
    "bin": commands,
    "scripts": install_scripts,
    "engines": _plain("engines"),
    "os": _list("os"),
    "cpu": _list("cpu"),
    "libc": _list("libc"),
}
"""How each field is read, in the order in which refusals name them."""
