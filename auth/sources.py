"""Source URLs: the many ways to write where a project's source lives, read as one.

Reading list: git-clone(1), "GIT URLS"; OCI image-spec annotations.md, "image.source".
"""

import re
from urllib.parse import urlsplit

from storage.digest import quoted
from storage.errors import Invalid

_MAX_LENGTH = 1000
_SCP = re.compile(r"[^@/\s]{1,100}@([A-Za-z0-9.-]{1,255}):([^\s]+)")
_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"http", "https", "ssh", "git", "git+http", "git+https", "git+ssh"}


def parse_source(text: str) -> str:
    """Read a source URL as `host/path`: no scheme, user, `.git` or slash at the end, lower case.

    `https://github.com/Acme/widget.git`, `git@github.com:acme/widget` and `github.com/acme/widget/`
    are one source. Letters' case is no difference, as on every large host. A password in it is
    dropped. Raises Invalid.
    """
    text = text.strip()
    if len(text) > _MAX_LENGTH or not text.isprintable() or " " in text or "\\" in text:
        raise _refusal(text)
    host, path = _split(text)
    segments = [segment for segment in path.lower().split("/") if segment]
    while segments and segments[-1].endswith(".git"):
        segments[-1] = segments[-1].removesuffix(".git")
    if not host or not segments or not {"", ".", ".."}.isdisjoint(segments):
        raise _refusal(text)
    return "/".join((host.lower(), *segments))


def _split(text: str) -> tuple[str, str]:
    """Return host (with a port that is not the scheme's own) and path."""
    found = _SCP.fullmatch(text)
    if found is not None and "://" not in text:
        return found[1].rstrip("."), found[2]
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        port = parts.port
    except ValueError as error:
        raise _refusal(text) from error
    if parts.scheme not in _SCHEMES or ("." not in (parts.hostname or "") and "://" not in text):
        raise _refusal(text)
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    scheme = parts.scheme.removeprefix("git+")
    if scheme in _PORTS and port not in (None, _PORTS[scheme]):
        host = f"{host}:{port}"  # the port of ssh or git says nothing of where its pages are
    return host, parts.path


def _refusal(text: str) -> Invalid:
    shown = re.sub("//[^@/]*@", "//", text[:_MAX_LENGTH])  # a password stands there
    return Invalid(
        f"{quoted(shown)} is not a source URL: write https://HOST/PATH or git@HOST:PATH "
        f"(at most {_MAX_LENGTH} characters)"
    )
