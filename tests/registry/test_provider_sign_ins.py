"""Signing in with a provider: the way there and back, who it makes somebody, and what goes wrong.

The provider is a real server on loopback that does what a test wants; tests/clients has a real one.
"""

import asyncio
import html
import logging
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from auth.accounts import OWNER
from auth.audit import OPERATOR
from auth.identities import Identities, names_for
from auth.openid import OpenId
from auth.organizations import GroupRole
from auth.principals import Role
from auth.provider_documents import (
    FAILED_SECONDS,
    KEPT_SECONDS,
    MAX_BYTES,
    RENEW_SECONDS,
    ProviderAway,
    Web,
)
from auth.provider_sign_ins import UNDER_WAY_SECONDS, ProviderSignIn
from auth.providers import Provider
from registry.sign_in_limits import BEGUN
from storage.errors import Conflict, NotFound
from storage.names import parse_owner
from tests.registry.person import Person
from tests.registry.providers import CLIENT, MadeProvider, public_keys, serving
from tests.registry.world import SetClock, World

PATH = "/-/ui/sign-in/corp"
BACK = "/-/ui/callback/corp"


@pytest.fixture
async def corp(world: World) -> AsyncIterator[MadeProvider]:
    """A provider, configured, which makes accounts."""
    async with serving(MadeProvider(world.clock)) as made:
        await configure(world, made)
        yield made


async def configure(world: World, made: MadeProvider, **changed: Any) -> None:
    provider = {"name": "corp", "issuer": made.issuer, "client_id": CLIENT, "create": True}
    await world.reconfigure(openid=(Provider(**{**provider, **changed}),))


async def sent_to(person: Person, following: str = "") -> dict[str, str]:
    """Press the provider's button; return the query that the browser is sent on with."""
    form = await person.form(f"/-/ui/sign-in?next={following}", PATH)
    response = await person.post(PATH, form.fields)
    assert response.status_code == 200, response.text
    (url,) = re.findall(r'content="0; url=([^"]+)"', response.text)
    return {name: value for name, (value,) in parse_qs(urlsplit(html.unescape(url)).query).items()}


async def come_back(
    person: Person, made: MadeProvider, sent: dict[str, str], **changed: str
) -> httpx.Response:
    """Come back as the provider sends people back."""
    made.nonce = sent["nonce"]
    answer = {"code": "c-1", "state": sent["state"], **changed}
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in answer.items())
    return await person.get(f"{BACK}?{query}")


async def sign_in(person: Person, made: MadeProvider, following: str = "") -> httpx.Response:
    return await come_back(person, made, await sent_to(person, following))


async def memberships(world: World, name: str) -> set[str]:
    rows = await world.rows(
        "select g.name from members m join accounts g on g.id = m.group_id "
        f"join accounts u on u.id = m.user_id where u.name = '{name}' and g.id <> u.id"
    )
    return {row["name"] for row in rows}


def refused(response: httpx.Response, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert words in html.unescape(response.text)
    assert response.headers["cache-control"] == "no-store"


# There and back


async def test_who_a_provider_knows_is_signed_in(world: World, corp: MadeProvider) -> None:
    person = Person(world)
    sent = await sent_to(person, quote("/-/ui/confirm?login=x", safe=""))
    assert {
        name: sent[name] for name in ("response_type", "client_id", "redirect_uri", "scope")
    } == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": f"http://registry.test{BACK}",
        "scope": "openid profile",
    }
    assert sent["code_challenge_method"] == "S256"
    response = await come_back(person, corp, sent)
    assert (response.status_code, response.headers["location"]) == (303, "/-/ui/confirm?login=x")
    assert "signed in as <strong>carol</strong> through corp" in (await person.get("/-/ui/")).text
    (form,) = corp.forms
    assert form["grant_type"] == ["authorization_code"]
    assert (form["code"], form["redirect_uri"]) == (["c-1"], [sent["redirect_uri"]])
    assert (form["client_id"], corp.authorization) == ([CLIENT], [""]), "a public client"
    assert len(form["code_verifier"][0]) == 43


@pytest.mark.parametrize(
    ("methods", "header"),
    [
        (None, "Basic cGFja2hvdXNlOmElMjZi"),
        (["client_secret_basic"], "Basic cGFja2hvdXNlOmElMjZi"),
        (["client_secret_post"], ""),
    ],
)
async def test_the_clients_secret_goes_where_the_provider_takes_it(
    world: World, corp: MadeProvider, methods: list[str] | None, header: str
) -> None:
    file = world.config.directory / "secret"
    file.write_text("a&b\n")
    await configure(world, corp, client_secret_file=str(file))
    corp.metadata = {"token_endpoint_auth_methods_supported": methods}
    assert (await sign_in(Person(world), corp)).status_code == 303
    assert corp.authorization == [header]
    assert corp.forms[0].get("client_secret") == (None if header else ["a&b"])
    file.unlink()
    refused(await sign_in(Person(world), corp), 502, "client_secret_file cannot be read")


async def test_a_state_is_taken_once_even_by_two_at_once(world: World, corp: MadeProvider) -> None:
    person = Person(world)
    sent = await sent_to(person)
    cookie = person.cookie
    both = [Person(world), Person(world)]
    for one in both:
        one.cookies.set("packhouse", cookie)
    answers = await asyncio.gather(*(come_back(one, corp, sent) for one in both))
    assert sorted(answer.status_code for answer in answers) == [303, 400]
    refused(await come_back(person, corp, sent), 400, "has been used: begin again")
    assert len(corp.forms) == 1


async def test_a_state_belongs_to_its_browser_its_provider_and_its_time(
    world: World, corp: MadeProvider
) -> None:
    other = Provider("other", corp.issuer + "/other", CLIENT)
    await world.reconfigure(openid=(*world.config.openid, other))
    person, stranger = Person(world), Person(world)
    sent = await sent_to(person)
    await stranger.get("/-/ui/sign-in")
    refused(await come_back(stranger, corp, sent), 400, "begun in another browser")
    refused(await come_back(Person(world), corp, sent), 400, "begun in another browser")
    elsewhere = await person.get(f"/-/ui/callback/other?code=c&state={sent['state']}")
    refused(elsewhere, 400, "begun in another browser")
    assert (await person.get("/-/ui/callback/nobody?code=c")).status_code == 404
    for wrong in ("", "x", sent["state"] + "x", "\0"):
        refused(await come_back(person, corp, {**sent, "state": wrong}), 400, "begin again")
    world.clock.advance(UNDER_WAY_SECONDS)
    refused(await come_back(person, corp, sent), 400, "over ten minutes old")
    assert corp.forms == []


async def test_a_session_from_before_is_not_gone_on_with(world: World, corp: MadeProvider) -> None:
    person = await Person(world).signed_in("reader")
    former = person.cookie
    form_key = await person.key("/-/ui/")
    response = await person.post(PATH, {"key": form_key, "next": "/-/ui/"})
    (url,) = re.findall(r'content="0; url=([^"]+)"', response.text)
    sent = {n: v for n, (v,) in parse_qs(urlsplit(html.unescape(url)).query).items()}
    assert (await come_back(person, corp, sent)).status_code == 303
    assert "<strong>carol</strong>" in (await person.get("/-/ui/")).text
    person.cookies.clear()
    person.cookies.set("packhouse", former)
    assert not await person.is_signed_in()


async def test_a_form_from_elsewhere_sends_nobody_to_a_provider(
    world: World, corp: MadeProvider
) -> None:
    person = Person(world)
    refused(await person.post(PATH, {"key": "x"}), 403, "go back, reload it")
    await person.get("/-/ui/sign-in")
    refused(await person.post(PATH, {"key": "x"}), 403, "go back, reload it")
    assert await world.rows("select provider from provider_sign_ins") == []
    assert (
        await person.post("/-/ui/sign-in/nobody", {"key": await person.key()})
    ).status_code == 404


async def test_begun_sign_ins_are_limited_by_address(world: World, corp: MadeProvider) -> None:
    person = Person(world)
    form = await person.form("/-/ui/sign-in", PATH)
    for _ in range(3 * BEGUN):  # some are paid off meanwhile
        response = await person.post(PATH, {**form.fields, "key": "x"})
        if response.status_code == 429:
            break
        refused(response, 403, "go back, reload it")
    refused(response, 429, "sign-ins begun")
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize("code", ["access_denied", "login_required"])
async def test_a_provider_that_says_no_is_quoted(
    world: World, corp: MadeProvider, code: str
) -> None:
    person = Person(world)
    response = await come_back(person, corp, await sent_to(person), error=code)
    refused(response, 403, f"corp did not sign you in ({code})")
    assert corp.forms == []


async def test_what_is_no_error_code_is_not_repeated(world: World, corp: MadeProvider) -> None:
    person = Person(world)
    response = await come_back(
        person, corp, await sent_to(person), error="<b>", error_description="call 555"
    )
    refused(response, 403, "corp did not sign you in")
    assert "555" not in response.text
    assert "<b>" not in html.unescape(response.text)


@pytest.mark.parametrize(("named", "status"), [("", 400), ("https://evil.test", 400), (None, 400)])
async def test_who_answers_is_checked_where_a_provider_names_itself(
    world: World, corp: MadeProvider, named: str | None, status: int
) -> None:
    corp.metadata = {"authorization_response_iss_parameter_supported": True}
    person = Person(world)
    extra = {} if named is None else {"iss": named}
    response = await come_back(person, corp, await sent_to(person), **extra)
    refused(response, status, "the answer is not from corp")
    again = await come_back(person, corp, await sent_to(person), iss=corp.issuer)
    assert again.status_code == 303


async def test_who_answers_is_checked_even_where_nothing_was_announced(
    world: World, corp: MadeProvider
) -> None:
    person = Person(world)
    response = await come_back(person, corp, await sent_to(person), iss="https://evil.test")
    refused(response, 400, "the answer is not from corp")


@pytest.mark.parametrize("code", ["", "x" * 5000, "a\nb"])
async def test_what_is_no_code_is_not_sent_on(world: World, corp: MadeProvider, code: str) -> None:
    person = Person(world)
    refused(await come_back(person, corp, await sent_to(person), code=code), 400, "no code")
    assert corp.forms == []


# Tokens that are not to be believed


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.test"}, "of another issuer"),
        ({"aud": "other"}, "for another client"),
        ({"azp": "other"}, "given to another client"),
        ({"nonce": "other"}, "of another sign-in"),
        ({"exp": 1_600_000_000}, "has expired"),
        ({"iat": 1_800_000_000}, "from the future"),
        ({"sub": None}, "whom it means"),
    ],
    ids=str,
)
async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    world: World, corp: MadeProvider, claims: dict[str, Any], why: str
) -> None:
    corp.changed = claims
    person = Person(world)
    refused(await sign_in(person, corp), 502, why)
    assert not await person.is_signed_in()
    assert await world.rows("select id from identities") == []


async def test_keys_are_asked_for_anew_at_most_once_a_minute(
    world: World, corp: MadeProvider
) -> None:
    published = public_keys()
    corp.keys = {"keys": published[1:]}
    refused(await sign_in(Person(world), corp), 502, "a key that the provider does not publish")
    refused(await sign_in(Person(world), corp), 502, "a key that the provider does not publish")
    assert corp.asked.count("/keys") == 1
    corp.keys = {"keys": published}
    world.clock.advance(RENEW_SECONDS)
    assert (await sign_in(Person(world), corp)).status_code == 303
    assert corp.asked.count("/keys") == 2
    for _ in range(3):
        assert (await sign_in(Person(world), corp)).status_code == 303
    assert corp.asked.count("/keys") == 2
    world.clock.advance(KEPT_SECONDS)
    assert (await sign_in(Person(world), corp)).status_code == 303
    assert corp.asked.count("/keys") == 3
    assert corp.asked.count("/.well-known/openid-configuration") == 2


async def test_a_set_without_keys_is_not_kept(world: World, corp: MadeProvider) -> None:
    corp.keys = {"keys": []}
    refused(await sign_in(Person(world), corp), 502, "no key that could verify anything")
    corp.keys = {"keys": public_keys()}
    assert (await sign_in(Person(world), corp)).status_code == 303


# A provider that is slow, huge, redirecting, wrong or gone


async def test_a_provider_that_is_gone_is_said_to_be_so_before_anybody_is_sent_there(
    world: World, corp: MadeProvider
) -> None:
    corp.status = {"/.well-known/openid-configuration": 503}
    person = Person(world)
    form = await person.form("/-/ui/sign-in", PATH)
    response = await person.post(PATH, form.fields)
    refused(response, 503, "corp is out of order")
    assert response.headers["retry-after"] == "5"
    corp.status = {}
    refused(await person.post(PATH, form.fields), 503, "corp is out of order")
    assert len(corp.asked) == 1, "it is left alone for a while"
    world.clock.advance(FAILED_SECONDS)
    assert (await person.post(PATH, form.fields)).status_code == 200
    assert await world.rows("select 1 from provider_sign_ins") != []


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
async def test_a_provider_that_never_answers_is_given_up(path: str) -> None:
    async with serving(MadeProvider(SetClock())) as made:
        made.silent = {path}
        openid = OpenId(Provider("corp", made.issuer, CLIENT), Web(seconds=2), made.clock)
        begun = ProviderSignIn("state", "nonce", "verifier", "http://registry.test", "/-/ui/")
        made.nonce = begun.nonce
        with pytest.raises(ProviderAway, match="corp does not answer: try again later"):
            await openid.claims({"code": "c-1"}, begun)
        assert made.asked[-1] == path


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a redirect": (
        {"status": {"/token": 302}, "headers": {"/token": [(b"location", b"/me")]}},
        "its answer cannot be read",
    ),
    "too much": ({"body": {"/token": b"[" + b" " * MAX_BYTES}}, "its answer cannot be read"),
    "no JSON": ({"body": {"/token": b"<html>"}}, "its answer cannot be read"),
    "deep JSON": ({"body": {"/token": b"[" * 100_000}}, "its answer cannot be read"),
    "a list": ({"body": {"/token": b"[]"}}, "its answer cannot be read"),
    "a compressed bomb": (
        {"headers": {"/token": [(b"content-encoding", b"gzip")]}},
        "",
    ),
    "no token": ({"body": {"/token": b"{}"}}, "it sent no ID token"),
    "a refusal": (
        {"status": {"/token": 400}, "body": {"/token": b'{"error": "invalid_grant"}'}},
        "it takes no code (invalid_grant)",
    ),
    "keys elsewhere": (
        {
            "status": {"/keys": 302},
            "headers": {"/keys": [(b"location", b"/me")]},
            "userinfo": {"keys": public_keys()},
        },
        "its answer cannot be read",
    ),
    "no keys": ({"status": {"/keys": 404}}, "its answer cannot be read"),
    "too many keys": ({"body": {"/keys": b" " * MAX_BYTES + b"{}"}}, "its answer cannot be read"),
}


@pytest.mark.parametrize(("what", "words"), WRONG.values(), ids=WRONG)
async def test_a_provider_that_answers_nonsense_is_a_page_that_says_so(
    world: World, corp: MadeProvider, what: dict[str, Any], words: str
) -> None:
    for name, value in what.items():
        setattr(corp, name, value)
    person = Person(world)
    response = await sign_in(person, corp)
    if words:
        refused(response, 502, words)
    else:
        assert response.status_code == 303, "what says it is compressed is read as it came"


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "https://evil.test"}, "calls itself another issuer"),
        ({"issuer": None}, "calls itself another issuer"),
        ({"token_endpoint": None}, "its token_endpoint"),
        ({"token_endpoint": "file:///etc/passwd"}, "its token_endpoint"),
        ({"token_endpoint": "http://169.254.169.254/latest"}, "its token_endpoint"),
        ({"jwks_uri": "http://evil.test/keys"}, "its jwks_uri"),
        ({"jwks_uri": 5}, "its jwks_uri"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "its authorization_endpoint"),
        ({"authorization_endpoint": "https://user@evil.test/"}, "its authorization_endpoint"),
        ({"authorization_endpoint": "https://[::1"}, "its authorization_endpoint"),
        ({"userinfo_endpoint": "ftp://x"}, "its userinfo_endpoint"),
    ],
    ids=str,
)
async def test_a_provider_that_names_places_not_to_be_asked_is_refused(
    world: World, corp: MadeProvider, metadata: dict[str, Any], words: str
) -> None:
    corp.metadata = metadata
    person = Person(world)
    form = await person.form("/-/ui/sign-in", PATH)
    refused(await person.post(PATH, form.fields), 502, words)


async def test_neither_codes_nor_tokens_nor_secrets_reach_the_log(
    world: World, corp: MadeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "packhouse")
    await configure(world, corp, client_secret="hush-hush")
    person = Person(world)
    sent = await sent_to(person)
    corp.status = {"/token": 500}
    await come_back(person, corp, sent, code="c-secret")
    corp.status = {}
    corp.changed = {"aud": "other"}
    await sign_in(person, corp)
    assert "status 500" in caplog.text
    for secret in ("hush-hush", "c-secret", sent["state"], sent["nonce"], "eyJ"):
        assert secret not in caplog.text


# Who it makes somebody


async def test_the_same_subject_is_the_same_account_whatever_it_is_called(
    world: World, corp: MadeProvider
) -> None:
    assert (await sign_in(Person(world), corp)).status_code == 303
    corp.claims = {"sub": "u-1", "preferred_username": "somebody-else"}
    person = Person(world)
    await sign_in(person, corp)
    assert "<strong>carol</strong>" in (await person.get("/-/ui/")).text


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("reader", "reader-2"),
        ("Reader", "reader-2"),
        ("acme", "acme-2"),
        ("admin", "admin-2"),
        ("npm", "npm-2"),
        ("reader@example.com", "reader-2"),
        ("Zoë K. O'Neil", "zo-k-o-neil"),
        ("../../etc", "etc"),
        ("x" * 60, "x" * 39),
        ("--", "user"),
        (None, "user"),
        (5, "user"),
        ("", "user"),
    ],
    ids=str,
)
async def test_a_name_links_nothing_and_gets_a_number_where_it_is_taken(
    world: World, corp: MadeProvider, wanted: object, name: str
) -> None:
    corp.claims = {"sub": "u-9", "preferred_username": wanted, "email": "reader@example.com"}
    corp.changed = {"email_verified": True}
    person = Person(world)
    await sign_in(person, corp)
    assert f"<strong>{name}</strong>" in (await person.get("/-/ui/")).text
    account = await world.services.accounts.get(name)
    assert (account.is_admin, account.password_hash) == (False, None)


def test_every_name_that_is_tried_is_one_that_an_owner_may_have() -> None:
    for wanted in ("a", "npm", "x" * 60, "a-" * 60, "\0", None):
        names = list(names_for(wanted))
        assert len(set(names)) == len(names) >= 100
        assert [parse_owner(name) for name in names] == names


async def test_ten_first_sign_ins_of_one_person_at_once_make_one_account(
    world: World, corp: MadeProvider
) -> None:
    (provider,) = world.config.openid
    async with asyncio.TaskGroup() as group:
        identities = Identities(world.services.database, world.services.accounts, world.clock)
        tasks = [
            group.create_task(identities.sign_in(provider, corp.claims, "", "")) for _ in range(10)
        ]
    assert {task.result().name for task in tasks} == {"carol"}
    assert len(await world.rows("select id from accounts where name like 'carol%'")) == 1


async def test_who_is_unknown_is_told_what_an_administrator_has_to_do(
    world: World, corp: MadeProvider
) -> None:
    await configure(world, corp, create=False)
    corp.claims = {"sub": "u 1", "preferred_username": "reader", "email": "reader@example.com"}
    person = Person(world)
    words = f"packhouse user link NAME {corp.issuer} 'u 1'"
    refused(await sign_in(person, corp), 403, words)
    identities = Identities(world.services.database, world.services.accounts, world.clock)
    linked = await identities.link(OPERATOR, "writer", corp.issuer, "u 1")
    again = await identities.link(OPERATOR, "writer", corp.issuer, "u 1")
    assert again["id"] == linked["id"]
    with pytest.raises(Conflict, match="linked to 'writer'"):
        await identities.link(OPERATOR, "reader", corp.issuer, "u 1")
    await sign_in(person, corp)
    assert "<strong>writer</strong>" in (await person.get("/-/ui/")).text
    with pytest.raises(NotFound):
        await identities.unlink(OPERATOR, "reader", linked["id"])
    await identities.unlink(OPERATOR, "writer", linked["id"])
    assert not await person.is_signed_in()
    refused(await sign_in(person, corp), 403, words)


async def test_a_disabled_account_stays_disabled(world: World, corp: MadeProvider) -> None:
    person = Person(world)
    await sign_in(person, corp)
    await world.services.accounts.set_enabled(OPERATOR, "carol", enabled=False)
    assert not await person.is_signed_in()
    refused(await sign_in(person, corp), 401, "this account is disabled")
    assert not await person.is_signed_in()
    account = await world.services.accounts.get("carol")
    assert account.disabled


async def test_a_sign_in_is_audited_with_what_it_made(world: World, corp: MadeProvider) -> None:
    await sign_in(Person(world), corp)
    await world.services.audit.flush()
    lines = await world.rows(
        "select l.kind, l.result, a.name, l.detail from audit l "
        "join accounts a on a.id = l.account_id where a.name = 'carol' order by l.id"
    )
    assert [tuple(line) for line in lines] == [
        ("user.create", "done", "carol", ""),
        ("user.link", "done", "carol", f"{corp.issuer} u-1"),
        ("sign-in", "done", "carol", ""),
    ]


# Groups


@pytest.fixture
async def mapped(world: World, corp: MadeProvider) -> MadeProvider:
    """The provider's groups, mapped to teams; `no-such` to one that does not exist."""
    for team in ("acme/devs", "acme/ops"):
        await world.services.teams.create(OPERATOR, team)
    await world.services.accounts.create_organization(OPERATOR, "beta")
    await world.services.teams.create(OPERATOR, "beta/all")
    groups = {"Devs": "acme/devs", "Ops": "acme/ops", "All": "beta/all", "Old": "acme/gone"}
    await configure(world, corp, groups_claim="groups", groups=tuple(groups.items()))
    return corp


async def with_groups(world: World, made: MadeProvider, groups: Any) -> set[str]:
    made.claims = {"sub": "u-1", "preferred_username": "carol", "groups": groups}
    response = await sign_in(Person(world), made)
    assert response.status_code == 303, response.text
    return await memberships(world, "carol")


async def test_teams_follow_the_groups_of_each_sign_in(world: World, mapped: MadeProvider) -> None:
    assert await with_groups(world, mapped, ["Devs", "All", "Old", "unknown", 5, None]) == {
        *("acme", "acme/devs"),
        *("beta", "beta/all"),
    }
    assert await with_groups(world, mapped, "Ops") == {"acme", "acme/ops"}
    assert await with_groups(world, mapped, {"Devs": {}, "Ops": {}}) == {
        *("acme", "acme/devs", "acme/ops"),
    }
    for nothing in ([], None, 5, "devs", [["Devs"]]):
        await with_groups(world, mapped, ["Devs"])
        assert await with_groups(world, mapped, nothing) == set()


async def test_what_somebody_gave_by_hand_is_never_taken_away(
    world: World, mapped: MadeProvider
) -> None:
    await with_groups(world, mapped, ["Devs"])
    services = world.services
    await services.organizations.add(OPERATOR, "acme", "carol", owner=False)
    await services.teams.add(OPERATOR, "acme/ops", "carol", GroupRole.MAINTAINER)
    assert await with_groups(world, mapped, ["Devs", "Ops"]) == {"acme", "acme/devs", "acme/ops"}
    assert await with_groups(world, mapped, []) == {"acme", "acme/ops"}
    await with_groups(world, mapped, ["Devs"])
    await services.teams.add(OPERATOR, "acme/devs", "carol", GroupRole.MEMBER)
    assert await with_groups(world, mapped, []) == {"acme", "acme/devs", "acme/ops"}


async def test_an_organization_keeps_who_is_in_a_team_of_it_by_hand(
    world: World, mapped: MadeProvider
) -> None:
    await with_groups(world, mapped, ["Devs"])
    await world.services.teams.add(OPERATOR, "acme/ops", "carol", GroupRole.MEMBER)
    assert await with_groups(world, mapped, []) == {"acme", "acme/ops"}
    await world.services.teams.remove(OPERATOR, "acme/ops", "carol")
    assert await with_groups(world, mapped, []) == set()


async def test_a_group_gives_the_teams_rights_with_the_next_request(
    world: World, mapped: MadeProvider
) -> None:
    await world.client("writer").push_image("acme/app", "v1")
    acme = await world.services.accounts.get("acme")
    await world.services.accounts.grant(OPERATOR, OWNER, acme.id, "acme/devs", Role.READ)
    await with_groups(world, mapped, ["Devs"])
    world.tokens["carol"] = await world.mint("carol")
    pull = "/v2/acme/app/manifests/v1"
    assert (await world.client("carol").get(pull)).status_code == 200
    await with_groups(world, mapped, [])
    assert (await world.client("carol").get(pull)).status_code == 404


async def test_unlinking_takes_away_what_the_groups_gave(
    world: World, mapped: MadeProvider
) -> None:
    await with_groups(world, mapped, ["Devs", "All"])
    await world.services.teams.add(OPERATOR, "acme/ops", "carol", GroupRole.MEMBER)
    identities = Identities(world.services.database, world.services.accounts, world.clock)
    (linked,) = await identities.list("carol")
    await identities.unlink(OPERATOR, "carol", linked["id"])
    assert await memberships(world, "carol") == {"acme", "acme/ops"}


async def test_a_team_that_is_deleted_meanwhile_is_left_out(
    world: World, mapped: MadeProvider
) -> None:
    await with_groups(world, mapped, ["Devs"])
    await world.services.teams.delete(OPERATOR, "acme/devs")
    assert await with_groups(world, mapped, ["Devs"]) == set()


async def test_what_an_id_token_does_not_say_is_asked_for(
    world: World, mapped: MadeProvider
) -> None:
    mapped.userinfo = {"sub": "u-1", "preferred_username": "frank", "groups": ["Ops"]}
    mapped.claims = {"sub": "u-1"}
    await configure(world, mapped, groups_claim="groups", groups=(("Ops", "acme/ops"),))
    assert (await sign_in(Person(world), mapped)).status_code == 303
    assert await memberships(world, "frank") == {"acme", "acme/ops"}
    mapped.userinfo = {**mapped.userinfo, "sub": "u-2"}
    refused(await sign_in(Person(world), mapped), 502, "does not say more of who signed in")


async def test_two_sign_ins_at_once_with_other_groups_end_with_those_of_one(
    world: World, mapped: MadeProvider
) -> None:
    await with_groups(world, mapped, [])
    identities = Identities(world.services.database, world.services.accounts, world.clock)
    (provider,) = world.config.openid
    for _ in range(3):
        async with asyncio.TaskGroup() as group:
            for groups in (["Devs", "All"], ["Ops", "All"], ["All"]) * 2:
                said = {"sub": "u-1", "groups": groups}
                group.create_task(identities.sign_in(provider, said, "", ""))
        assert {"beta", "beta/all"} <= await memberships(world, "carol")
        assert await with_groups(world, mapped, []) == set()
