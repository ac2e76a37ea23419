"""What npm 11 can ask for and is not here: each says so, and what to do.

Reading list: npm's lib/utils/oidc.js, lib/trust-cmd.js, lib/commands/stage/, lib/commands/stars.js;
libnpmpublish.
"""

from starlette.responses import Response

from registry.packaging.surface import Call, Handler, Route
from registry.rest.needs import open_because
from storage.errors import NotFound

OIDC = "/-/npm/v1/oidc/token/exchange/package/@{owner}/{name}"
_TRUST = (
    "no package here trusts a build service by itself: give the build a token, made with "
    "'packhouse token create --project OWNER/NAME'"
)
_STAGE = "packages are not staged here: 'npm publish' publishes at once, 'npm unpublish' hides"
_STARS = "nobody keeps stars here"
_ABSENT = (
    ("POST", OIDC, _TRUST),
    ("GET", "/-/package/@{owner}/{name}/trust", _TRUST),
    ("POST", "/-/package/@{owner}/{name}/trust", _TRUST),
    ("PUT", "/-/package/@{owner}/{name}/trust", _TRUST),
    ("DELETE", "/-/package/@{owner}/{name}/trust/{id}", _TRUST),
    ("POST", "/-/stage/package/@{owner}/{name}", _STAGE),
    ("GET", "/-/stage", _STAGE),
    *((method, "/-/stage/{rest*}", _STAGE) for method in ("GET", "POST", "PUT", "DELETE")),
    ("GET", "/-/_view/starredByUser", _STARS),
)


class Absent:
    """Answers them."""

    def routes(self) -> list[Route]:
        """Return the routes of what is not here."""
        why = open_because("it says what is not here")
        return [Route(method, path, _refusing(words), why) for method, path, words in _ABSENT]

    def at_root(self) -> list[Route]:
        """Return what npm asks for at the host's root: it drops the path of a registry."""
        return [route for route in self.routes() if route.path == OIDC]


def _refusing(words: str) -> Handler:
    async def refuse(_: Call) -> Response:
        raise NotFound(words)

    return refuse
