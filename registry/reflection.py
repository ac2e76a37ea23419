"""`/-/doctor`: tells `packhouse doctor` how its own request arrived, and nobody else.

The pass is signed with the registry's own key, which only the machine's operator can read, and good
for a minute; it opens nothing but this. So no account, and no row, is needed to look.
"""

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse

from auth.errors import NotSignedIn
from auth.jwt import ALGORITHM, check_signature
from auth.signing_keys import Key, SigningKeys
from storage.clock import SECOND, Clock

PATH = "/-/doctor"
AUDIENCE = "packhouse doctor"
PASS_SECONDS = 60
_SAID = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")


def issue_pass(key: Key, at: int) -> str:
    """Sign a pass that is good from `at` (microseconds) for a minute."""
    seconds = at // SECOND
    claims = {"aud": AUDIENCE, "iat": seconds, "exp": seconds + PASS_SECONDS}
    return jwt.encode(claims, key.secret, ALGORITHM, headers={"kid": key.kid})


class Reflection:
    """Answers at once, whatever the length of the body: it never reads one."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def show(self, request: Request) -> JSONResponse:
        """GET or POST /-/doctor. Raises NotSignedIn without a pass."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not await self._is_good(text):
            raise NotSignedIn("only `packhouse doctor` is answered here")
        shown = {
            "scheme": request.url.scheme,
            "host": request.headers.get("host", ""),
            "client": request.client.host if request.client else "",
            "peer": getattr(request.state, "peer", ""),
            "said": {name: request.headers[name] for name in _SAID if name in request.headers},
        }
        # A body that was announced is not waited for.
        headers = {"Cache-Control": "no-store", "Connection": "close"}
        return JSONResponse({"doctor": shown}, headers=headers)

    async def _is_good(self, text: str) -> bool:
        try:
            _, claims = await check_signature(self._keys, text, AUDIENCE, ["exp", "aud"])
        except NotSignedIn:
            return False
        seconds = self._clock() // SECOND  # with a minute's allowance for doctor's clock
        return bool(seconds - PASS_SECONDS <= claims["exp"] <= seconds + 2 * PASS_SECONDS)
