"""A provider of sign-ins on a real socket, which does and signs whatever a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.types import Receive, Scope, Send

from registry.sockets import listen
from storage.clock import SECOND
from tests.registry.world import Served, SetClock

CLIENT = "packhouse"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
KEYS = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}


def public_keys() -> list[dict[str, Any]]:
    """What the provider publishes: a key of each kind, its algorithm's name as its id."""
    return [
        {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), "kid": "RS256"},
        {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "ES256"},
        {**OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True), "kid": "EdDSA"},
    ]


def sign(claims: dict[str, Any], algorithm: str = "RS256", **header: Any) -> str:
    """An ID token as the provider signs it."""
    return jwt.encode(claims, KEYS[algorithm], algorithm, headers={"kid": algorithm, **header})


class MadeProvider:
    """Its answers by path; a test changes them, and looks at what was asked."""

    def __init__(self, clock: SetClock) -> None:
        self.clock = clock
        self.issuer = ""
        self.keys: Any = {"keys": public_keys()}
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {"sub": "u-1", "preferred_username": "carol"}
        self.changed: dict[str, Any] = {}
        """Claims that are not what they should be; None leaves one out."""
        self.algorithm = "RS256"
        self.id_token: str | None = None
        self.userinfo: dict[str, Any] | None = None
        self.status: dict[str, int] = {}
        self.body: dict[str, bytes] = {}
        self.headers: dict[str, list[tuple[bytes, bytes]]] = {}
        self.silent: set[str] = set()
        self.released = asyncio.Event()
        self.asked: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.authorization: list[str] = []
        self.nonce = ""

    def document(self) -> dict[str, Any]:
        made = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **({} if self.userinfo is None else {"userinfo_endpoint": f"{self.issuer}/me"}),
            **self.metadata,
        }
        return {name: value for name, value in made.items() if value is not None}

    def token(self) -> str:
        at = self.clock() // SECOND
        times = {"iat": at, "exp": at + 300}
        claims = {"iss": self.issuer, "aud": CLIENT, "nonce": self.nonce, **times}
        changed = {**claims, **self.claims, **self.changed}
        kept = {name: value for name, value in changed.items() if value is not None}
        return self.id_token or sign(kept, self.algorithm)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        self.asked.append(path)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if path == "/token":
            self.forms.append(parse_qs(body.decode()))
            self.authorization.append(headers.get(b"authorization", b"").decode())
        answers = {
            "/.well-known/openid-configuration": self.document,
            "/keys": lambda: self.keys,
            "/token": lambda: {"id_token": self.token(), "access_token": "access"},
            "/me": lambda: self.userinfo,
        }
        if path in self.silent:
            await self.released.wait()
        found = answers[path]()
        sent = self.body.get(path, json.dumps(found).encode())
        start = {"type": "http.response.start", "status": self.status.get(path, 200)}
        await send({**start, "headers": self.headers.get(path, [])})
        await send({"type": "http.response.body", "body": sent})


@asynccontextmanager
async def serving(made: MadeProvider) -> AsyncIterator[MadeProvider]:
    """Serve it on a free port of loopback."""
    served, sockets = Served(made), listen(("127.0.0.1",), 0)
    task = asyncio.create_task(served.serve(sockets))
    try:
        await served.started_event.wait()
        made.issuer = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        yield made
    finally:
        made.released.set()
        served.should_exit = True
        await task
