"""Logins of clients that a person confirms in a browser: one token, once, to who began it."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from auth.audit import OPERATOR
from auth.sessions import new_secret
from auth.web_logins import TOKEN_SECONDS, WAITING_SECONDS
from registry.sign_in_expiry import KEPT_LOGIN_SECONDS, expire_browsers
from storage.clock import SECOND
from tests.registry.client import Client, basic
from tests.registry.person import Form, Person, forms
from tests.registry.world import World


class Login:
    """One login, as its client sees it."""

    def __init__(self, world: World, begun: dict[str, str]) -> None:
        self.client = Client(world)
        self.begun = begun

    @classmethod
    async def begin(
        cls, world: World, agent: str = "npm/11.6.2 node/v24.19.0 linux x64"
    ) -> "Login":
        response = await Client(world).post("/-/ui/logins", headers={"User-Agent": agent})
        assert response.status_code == 200, response.text
        assert response.headers["cache-control"] == "no-store"
        return cls(world, response.json())

    @property
    def page(self) -> str:
        parts = urlsplit(self.begun["loginUrl"])
        return f"{parts.path}?{parts.query}"

    async def fetch(self) -> tuple[int, str]:
        response = await self.client.get(self.begun["doneUrl"])
        assert response.headers.get("cache-control") == "no-store"
        if response.status_code == 202:
            assert response.headers["retry-after"] == "2"
        return response.status_code, response.json().get("token", "")


async def confirm_form(person: Person, login: Login, which: int = 1) -> Form:
    return await person.form(login.page, "/-/ui/confirm", which)


async def confirm(person: Person, login: Login) -> None:
    form = await confirm_form(person, login)
    assert form.fields["decision"] == "confirm"
    assert (await person.post(form.action, form.fields)).status_code == 200


async def works(world: World, token: str) -> bool:
    return (await Client(world, basic("x", token)).get("/token")).status_code == 200


@pytest.fixture
async def reader(world: World) -> Person:
    return await Person(world).signed_in("reader")


async def test_a_confirmed_login_gives_its_token_once(world: World, reader: Person) -> None:
    login = await Login.begin(world)
    assert set(login.begun) == {"loginUrl", "doneUrl", "code", "expiresIn"}
    assert login.begun["expiresIn"] == WAITING_SECONDS
    assert login.begun["loginUrl"].startswith("http://registry.test/-/ui/confirm?login=")
    assert await login.fetch() == (202, "")
    page = (await reader.get(login.page)).text
    for words in (login.begun["code"], "npm/11.6.2", "<strong>reader</strong>", "read and write"):
        assert words in page
    await confirm(reader, login)
    status, token = await login.fetch()
    assert (status, token[:4]) == (200, "phu_")
    assert await works(world, token)
    assert (await login.fetch())[0] == 410
    (row,) = await world.rows("select * from tokens where name like 'web login: npm%'")
    assert row["scopes"] == 3
    assert row["expires_at"] == world.clock() + TOKEN_SECONDS * SECOND
    kept = [str(tuple(row)) for row in await world.rows("select * from web_logins")]
    query = parse_qs(urlsplit(login.begun["doneUrl"]).query)
    assert not any(token in text or query["secret"][0] in text for text in kept)


async def test_ten_who_ask_at_once_get_one_token(world: World, reader: Person) -> None:
    login = await Login.begin(world)
    await confirm(reader, login)
    async with world.another_worker() as other:
        elsewhere = Login(other, login.begun)
        answers = await asyncio.gather(*(one.fetch() for one in [login, elsewhere] * 5))
    assert sorted(status for status, _ in answers) == [200] + [410] * 9
    assert len(await world.rows("select id from tokens where name like 'web login%'")) == 1


async def test_a_denied_login_gives_none(world: World, reader: Person) -> None:
    login = await Login.begin(world)
    form = await confirm_form(reader, login, 0)
    assert form.fields["decision"] == "deny"
    again = await confirm_form(reader, login)
    response = await reader.post(form.action, form.fields)
    assert "The client gets no token" in response.text
    assert (await login.fetch())[0] == 410
    late = await reader.post(again.action, again.fields)
    assert (late.status_code, "decided on already" in late.text) == (410, True)
    assert (await login.fetch())[0] == 410


async def test_of_two_decisions_at_once_one_counts(world: World, reader: Person) -> None:
    login = await Login.begin(world)
    found = [await confirm_form(reader, login, which) for which in (0, 1)]
    answers = await asyncio.gather(*(reader.post(form.action, form.fields) for form in found * 3))
    assert sorted(answer.status_code for answer in answers) == [200] + [410] * 5
    (line,) = await world.rows("select detail from audit where kind = 'user.web-login'")
    status, _ = await login.fetch()
    assert status == (200 if line["detail"].endswith("confirmed") else 410)


async def test_what_is_no_decision_confirms_nothing(world: World, reader: Person) -> None:
    login = await Login.begin(world)
    form = await confirm_form(reader, login)
    await reader.post(form.action, {**form.fields, "decision": "Confirm "})
    assert (await login.fetch())[0] == 410


async def test_only_a_form_of_the_signed_in_browser_decides(world: World, reader: Person) -> None:
    login = await Login.begin(world)
    anonymous = Person(world)
    sent = await anonymous.get(login.page)
    assert sent.status_code == 303
    assert sent.headers["location"].startswith("/-/ui/sign-in?next=%2F-%2Fui%2Fconfirm%3Flogin%3D")
    form = await confirm_form(reader, login)
    key = await anonymous.key()
    assert (await anonymous.post(form.action, {**form.fields, "key": key})).status_code == 401
    assert (await reader.post(form.action, {**form.fields, "key": "x"})).status_code == 403
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert (await reader.post(form.action, form.fields, cross)).status_code == 403
    assert (await reader.get(login.page + "&decision=confirm")).status_code == 200
    assert await login.fetch() == (202, "")


async def test_a_link_and_a_secret_open_their_own_doors_only(world: World, reader: Person) -> None:
    login = await Login.begin(world)
    query = parse_qs(urlsplit(login.page).query)
    client = Client(world)
    link = query["login"][0]
    for wrong in ("", "x", link, new_secret(), "\0"):
        response = await client.get("/-/ui/logins", params={"secret": wrong})
        assert response.status_code == 404, wrong
    secret = parse_qs(urlsplit(login.begun["doneUrl"]).query)["secret"][0]
    assert (await reader.get(f"/-/ui/confirm?login={secret}")).status_code == 404
    assert (await reader.get("/-/ui/confirm")).status_code == 404


async def test_a_login_waits_ten_minutes_and_is_then_forgotten(
    world: World, reader: Person
) -> None:
    pending, confirmed = await Login.begin(world), await Login.begin(world)
    form = await confirm_form(reader, pending)
    await confirm(reader, confirmed)
    world.clock.advance(WAITING_SECONDS - 1)
    assert await pending.fetch() == (202, "")
    world.clock.advance(1)
    for login in (pending, confirmed):
        assert (await login.fetch())[0] == 410
    assert (await reader.post(form.action, form.fields)).status_code == 410
    assert (await reader.get(pending.page)).status_code == 410
    await forget(world)
    assert (await pending.fetch())[0] == 410
    world.clock.advance(KEPT_LOGIN_SECONDS)
    await forget(world)
    assert (await pending.fetch())[0] == 404
    assert await world.rows("select id from web_logins") == []


async def forget(world: World) -> None:
    """Do what garbage collection does with browsers."""
    services = world.services
    term = await services.leases.acquire("gc", 60)
    assert term is not None
    while await expire_browsers(term, services.collector.retention, world.clock()):
        pass
    await term.release()


@pytest.mark.parametrize("what", ["disabled", "password"])
async def test_what_was_confirmed_is_not_given_once_the_account_is_no_longer_good(
    world: World, reader: Person, what: str
) -> None:
    login = await Login.begin(world)
    await confirm(reader, login)
    if what == "disabled":
        await world.services.accounts.set_enabled(OPERATOR, "reader", enabled=False)
    else:
        await world.services.accounts.set_password(OPERATOR, "reader", "another long password")
    assert (await login.fetch())[0] == 410
    assert await world.rows("select id from tokens where name like 'web login%'") == []


async def test_a_hostile_client_is_named_without_harm(world: World, reader: Person) -> None:
    login = await Login.begin(world, "<script>alert(1)</script>" + "x" * 500)
    page = (await reader.get(login.page)).text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert len(forms(page, "/-/ui/confirm")) == 2
    assert "x" * 100 not in page


async def test_codes_are_read_out_without_mistakes(world: World) -> None:
    codes = [(await Login.begin(world)).begun["code"] for _ in range(20)]
    assert len(set(codes)) == 20
    assert all(set(code.replace("-", "")) <= set("BCDFGHJKLMNPQRSTVWXZ") for code in codes)


async def test_sessions_and_sign_ins_whose_time_is_over_are_forgotten(
    world: World, reader: Person
) -> None:
    assert await reader.is_signed_in()
    await world.services.database.execute(
        "insert into provider_sign_ins (state_hash, browser_hash, provider, redirect_uri, nonce, "
        f"verifier, next, expires_at) values ('a', '', '', '', '', '', '', {world.clock() + 1})"
    )
    await forget(world)
    assert await reader.is_signed_in()
    assert len(await world.rows("select 1 from provider_sign_ins")) == 1
    world.clock.advance(15 * 86400)
    await forget(world)
    assert await world.rows("select id from sessions") == []
    assert await world.rows("select 1 from provider_sign_ins") == []
