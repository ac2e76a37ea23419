"""A person at the pages under /-/ui: keeps cookies, and sends the forms that a page has."""

import html
import re
from dataclasses import dataclass

import httpx
from starlette.types import ASGIApp

from tests.registry.client import Client
from tests.registry.world import PASSWORD

HERE = "http://registry.test"
SAME_ORIGIN = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a page: where it goes, and its fields."""

    action: str
    fields: dict[str, str]


class Person:
    """One browser, without redirects: a test says where it goes."""

    def __init__(self, app: ASGIApp, url: str = HERE) -> None:
        self.client = Client(app, url=url)
        self.cookies = self.client.http.cookies
        self.url = url

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def post(
        self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        sent = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        sent = sent if headers is None else headers
        return await self.client.post(path, data=fields, headers=sent)

    async def form(self, path: str, action: str, which: int = 0) -> Form:
        """One of the forms of a page that go to `action`."""
        response = await self.get(path)
        assert response.status_code == 200, response.text
        return forms(response.text, action)[which]

    async def key(self, path: str = "/-/ui/sign-in") -> str:
        """What every form of this browser carries."""
        return re.findall(r'name="key" value="([^"]+)"', (await self.get(path)).text)[0]

    async def sign_in(
        self, name: str, password: str = PASSWORD, following: str = ""
    ) -> httpx.Response:
        """Send the sign-in form."""
        form = await self.form(f"/-/ui/sign-in?next={following}", "/-/ui/sign-in")
        return await self.post(form.action, {**form.fields, "name": name, "password": password})

    async def signed_in(self, name: str) -> "Person":
        response = await self.sign_in(name)
        assert response.status_code == 303, response.text
        return self

    async def is_signed_in(self) -> bool:
        return (await self.get("/-/ui/")).status_code == 200

    @property
    def cookie(self) -> str:
        """What the session's cookie holds."""
        value = self.cookies.get("packhouse") or self.cookies.get("__Host-packhouse")
        assert value is not None
        return value


def forms(text: str, action: str) -> list[Form]:
    found = []
    for given, inside in re.findall(
        r'<form method="post" action="([^"]+)">(.*?)</form>', text, re.S
    ):
        fields = re.findall(r'<input [^>]*name="([^"]+)"(?: value="([^"]*)")?', inside)
        if given == action:
            found.append(Form(given, {name: html.unescape(value) for name, value in fields}))
    return found
