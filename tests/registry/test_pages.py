"""Sessions and forms under /-/ui: who is signed in where, and which forms are taken."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.audit import OPERATOR
from auth.sessions import IDLE_SECONDS, SESSION_SECONDS, TOUCH_SECONDS, form_key, new_secret
from registry.ui.account import name_browser
from registry.ui.browsers import parse_next
from tests.registry.client import Client, basic
from tests.registry.person import Person, forms
from tests.registry.world import PASSWORD, World

SIGN_IN = "/-/ui/sign-in"


@pytest.fixture
async def reader(world: World) -> Person:
    """The reader, signed in."""
    return await Person(world).signed_in("reader")


async def sessions(world: World) -> int:
    return len(await world.rows("select id from sessions"))


async def test_a_password_opens_a_session_that_ends_with_signing_out(world: World) -> None:
    person = Person(world)
    assert (await person.get("/-/ui/")).headers["location"] == SIGN_IN
    response = await person.sign_in("Reader ")
    assert (response.status_code, response.headers["location"]) == (303, "/-/ui/")
    page = await person.get("/-/ui/")
    assert "signed in as <strong>reader</strong> through a password" in page.text
    cookie = person.cookie
    (form,) = [
        form for form in forms(page.text, "/-/ui/sign-out") if "everywhere" not in form.fields
    ]
    assert (await person.post(form.action, form.fields)).headers["location"] == SIGN_IN
    assert "packhouse" not in person.cookies
    person.cookies.set("packhouse", cookie)
    assert not await person.is_signed_in()
    assert await sessions(world) == 0


async def test_no_redirect_names_a_host(world: World) -> None:
    evil = {"host": "evil.example"}
    bare = await Person(world).get("/-/ui", **evil)
    assert (bare.status_code, bare.headers["location"]) == (303, "/-/ui/")
    for path in ("/-/ui/sign-in/", "/token/", "/healthz/", "/-/ui/style.css/"):
        assert (await Person(world).get(path, **evil)).status_code == 404, path


async def test_the_cookie_is_kept_from_scripts_and_other_sites(world: World) -> None:
    person = Person(world)
    response = await person.sign_in("reader")
    (cookie,) = response.headers.get_list("set-cookie")
    assert re.fullmatch(
        rf"packhouse=[\w-]{{43}}; HttpOnly; Max-Age={SESSION_SECONDS}; Path=/; SameSite=lax", cookie
    )
    (row,) = await world.rows("select hash from sessions")
    assert person.cookie not in row["hash"], "the row holds a hash"


@pytest.mark.parametrize("configured", ["", "https://packages.example.com"])
async def test_with_tls_the_cookie_cannot_come_from_elsewhere(
    world: World, configured: str
) -> None:
    await world.reconfigure(public_url=configured)
    person = Person(world, "http://registry.test" if configured else "https://registry.test")
    response = await person.get(SIGN_IN)
    cookie = response.headers["set-cookie"]
    assert re.fullmatch(
        r"__Host-packhouse=[\w-]{43}; HttpOnly; Path=/; SameSite=lax; Secure", cookie
    )


async def test_every_page_is_kept_by_nobody_and_runs_nothing(reader: Person) -> None:
    for path, status in (("/-/ui/", 200), ("/-/ui/sign-in?next=/-/ui/confirm", 303)):
        response = await reader.get(path)
        assert (response.status_code, response.headers["cache-control"]) == (status, "no-store")
    headers = (await reader.get("/-/ui/")).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    style = await reader.get("/-/ui/style.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "password"),
    [("reader", "wrong"), ("nobody-here", PASSWORD), ("acme", PASSWORD), ("", ""), ("\0", "\0")],
)
async def test_what_is_wrong_shows_the_form_again_without_the_password(
    world: World, name: str, password: str
) -> None:
    person = Person(world)
    response = await person.sign_in(name, password, following="/-/ui/confirm")
    assert response.status_code == 401
    assert "www-authenticate" not in response.headers, "a browser would ask by itself"
    (form,) = forms(response.text, SIGN_IN)
    assert form.fields["next"] == "/-/ui/confirm"
    assert form.fields["password"] == ""
    assert await sessions(world) == 0


async def test_a_token_opens_no_session(world: World) -> None:
    response = await Person(world).sign_in("reader", world.tokens["reader"])
    assert response.status_code == 401
    assert "a token opens no session" in response.text


async def test_a_disabled_account_does_not_sign_in(world: World) -> None:
    await world.services.accounts.set_enabled(OPERATOR, "reader", enabled=False)
    response = await Person(world).sign_in("reader")
    assert response.status_code == 401
    assert "this account is disabled" in response.text


async def test_wrong_passwords_here_and_at_the_token_door_count_together(world: World) -> None:
    await world.reconfigure(wrong_passwords=40)
    person = Person(world)
    for _ in range(2):
        assert (await person.sign_in("reader", "wrong")).status_code == 401
        guess = Client(world, basic("reader", "wrong"))
        assert (await guess.get("/token")).status_code == 401
    response = await person.sign_in("reader")
    assert response.status_code == 429
    assert "wrong passwords" in response.text
    assert int(response.headers["retry-after"]) > 0
    assert forms(response.text, SIGN_IN) != []


# Forms


async def test_a_form_without_the_browsers_key_is_refused(world: World, reader: Person) -> None:
    other = await Person(world).signed_in("writer")
    for key in ("", "x", await other.key("/-/ui/"), form_key(new_secret())):
        for path in ("/-/ui/sign-out", "/-/ui/sessions", "/-/ui/tokens", SIGN_IN):
            response = await reader.post(path, {"key": key, "id": "1"})
            assert response.status_code == 403, path
            assert "go back, reload it" in response.text
    assert (await reader.post("/-/ui/sign-out", {"x": "y"})).status_code == 403
    assert await reader.is_signed_in()


async def test_the_key_alone_is_nothing_without_the_cookie(world: World, reader: Person) -> None:
    response = await Person(world).post("/-/ui/sign-out", {"key": await reader.key("/-/ui/")})
    assert response.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://registry.test"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.test"},
        {"Origin": "https://registry.test"},
        {"Origin": "null"},
    ],
)
async def test_a_form_that_another_site_sent_is_refused(
    reader: Person, headers: dict[str, str]
) -> None:
    fields = {"key": await reader.key("/-/ui/")}
    response = await reader.post("/-/ui/sign-out", fields, headers)
    assert response.status_code == 403
    assert "another site sent this form" in response.text
    assert await reader.is_signed_in()


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://registry.test"}])
async def test_a_client_that_says_nothing_of_the_site_needs_the_key_alone(
    reader: Person, headers: dict[str, str]
) -> None:
    response = await reader.post("/-/ui/sign-out", {"key": await reader.key("/-/ui/")}, headers)
    assert response.status_code == 303


async def test_a_form_that_is_too_large_or_none_is_refused(reader: Person) -> None:
    key = await reader.key("/-/ui/")
    assert (await reader.post("/-/ui/sign-out", {"key": key, "x": "x" * 70_000})).status_code == 413
    twice = await reader.client.post(
        "/-/ui/sign-out",
        content=f"key={key}&key={key}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert twice.status_code == 400
    assert (await reader.client.post("/-/ui/sign-out", json={"key": key})).status_code == 400


# Sessions


async def test_signing_in_never_goes_on_with_the_secret_from_before(world: World) -> None:
    person = Person(world)
    await person.get(SIGN_IN)
    planted = person.cookie
    await person.signed_in("reader")
    assert person.cookie != planted
    former = person.cookie
    person.cookies.clear()
    person.cookies.set("packhouse", planted)
    assert not await person.is_signed_in()
    person.cookies.set("packhouse", former)
    assert await person.is_signed_in()


async def test_signing_in_again_ends_the_session_that_the_browser_had(world: World) -> None:
    person = Person(world)
    form = await person.form(SIGN_IN, SIGN_IN)
    fields = {**form.fields, "name": "reader", "password": PASSWORD}
    await person.post(SIGN_IN, fields)
    first = person.cookie
    again = {**fields, "key": form_key(first), "name": "writer"}
    assert (await person.post(SIGN_IN, again)).status_code == 303
    assert await sessions(world) == 1
    assert "<strong>writer</strong>" in (await person.get("/-/ui/")).text


async def test_a_session_ends_on_every_worker_with_the_password_and_the_account(
    world: World, reader: Person
) -> None:
    accounts = world.services.accounts
    async with world.another_worker() as other:
        elsewhere = Person(other)
        elsewhere.cookies.set("packhouse", reader.cookie)
        assert await elsewhere.is_signed_in()
        await accounts.set_enabled(OPERATOR, "reader", enabled=False)
        assert not await elsewhere.is_signed_in()
        await accounts.set_enabled(OPERATOR, "reader", enabled=True)
        assert not await elsewhere.is_signed_in(), "what has ended does not come back"
        await elsewhere.signed_in("reader")
        await accounts.set_password(OPERATOR, "reader", "another long password")
        assert not await elsewhere.is_signed_in()


async def test_a_session_ends_when_nobody_uses_it_and_in_any_case(
    world: World, reader: Person
) -> None:
    world.clock.advance(IDLE_SECONDS - 1)
    assert await reader.is_signed_in()
    world.clock.advance(IDLE_SECONDS)
    assert not await reader.is_signed_in()
    await reader.signed_in("reader")
    for _ in range(SESSION_SECONDS // (IDLE_SECONDS - 1)):
        world.clock.advance(IDLE_SECONDS - 1)
        assert await reader.is_signed_in()
    world.clock.advance(IDLE_SECONDS - 1)
    assert not await reader.is_signed_in()


async def test_the_use_of_a_session_is_written_now_and_then(world: World, reader: Person) -> None:
    statement = "select last_used_at from sessions"
    (first,) = await world.rows(statement)
    world.clock.advance(TOUCH_SECONDS - 1)
    assert await reader.is_signed_in()
    assert (await world.rows(statement))[0]["last_used_at"] == first["last_used_at"]
    world.clock.advance(1)
    assert await reader.is_signed_in()
    assert (await world.rows(statement))[0]["last_used_at"] == world.clock()


async def test_one_ends_ones_own_sessions_one_by_one_and_all_at_once(
    world: World, reader: Person
) -> None:
    other = await Person(world).signed_in("reader")
    writer = await Person(world).signed_in("writer")
    page = (await reader.get("/-/ui/")).text
    found = forms(page, "/-/ui/sessions")
    assert len(found) == 2
    assert page.count("this one") == 1
    assert (await reader.post("/-/ui/sessions", found[0].fields)).headers["location"] == "/-/ui/"
    assert [await reader.is_signed_in(), await other.is_signed_in()] == [True, False]
    (row,) = await world.rows(
        "select s.id from sessions s join accounts u on u.id = s.account_id where u.name = 'writer'"
    )
    await reader.post("/-/ui/sessions", {**found[0].fields, "id": str(row["id"])})
    assert await writer.is_signed_in(), "nobody ends the session of another"
    assert (await reader.post("/-/ui/sessions", found[1].fields)).headers["location"] == SIGN_IN
    assert not await reader.is_signed_in()
    await reader.signed_in("reader")
    await other.signed_in("reader")
    everywhere = forms((await other.get("/-/ui/")).text, "/-/ui/sign-out")[1]
    await other.post("/-/ui/sign-out", everywhere.fields)
    assert [await reader.is_signed_in(), await other.is_signed_in()] == [False, False]
    assert await writer.is_signed_in()


@pytest.mark.parametrize("wrong", ["", "0", "-1", "1 or 1=1", "9" * 19, "²"])
async def test_what_is_no_id_is_refused(reader: Person, wrong: str) -> None:
    fields = {"key": await reader.key("/-/ui/"), "id": wrong}
    for path in ("/-/ui/sessions", "/-/ui/tokens"):
        assert (await reader.post(path, fields)).status_code == 400


async def test_one_sees_and_revokes_ones_own_tokens(world: World, reader: Person) -> None:
    account = await world.services.accounts.get("reader")
    name = "laptop <script>"
    made = await world.services.tokens.create(OPERATOR, account.id, "user", name, 1, None)  # type: ignore[arg-type]
    page = (await reader.get("/-/ui/")).text
    assert "laptop &lt;script&gt;" in page
    assert made.text not in page
    form = forms(page, "/-/ui/tokens")[0]
    assert form.fields["id"] == str(made.id)
    assert (await reader.post("/-/ui/tokens", form.fields)).status_code == 303
    assert (await reader.post("/-/ui/tokens", form.fields)).status_code == 303, "pressed twice"
    assert (await Client(world, basic("x", made.text)).get("/token")).status_code == 401
    who = await world.services.tokens.find(world.tokens["writer"])
    assert who is not None
    theirs = await reader.post("/-/ui/tokens", {**form.fields, "id": str(who.token_id)})
    assert theirs.status_code == 404
    (line,) = await world.rows(
        "select a.name from audit l join accounts a on a.id = l.account_id "
        "where l.kind = 'token.revoke'"
    )
    assert line["name"] == "reader"


async def test_a_cookie_counts_for_nothing_outside_the_pages(world: World, reader: Person) -> None:
    await world.client("writer").push_image("acme/app", "v1")
    for path in ("/v2/", "/v2/acme/app/manifests/v1", "/v2/_catalog"):
        assert (await reader.get(path)).status_code == 401
    token = (await reader.get("/token?scope=repository:acme/app:pull")).json()["token"]
    bearer = Client(world, f"Bearer {token}")
    assert (await bearer.get("/v2/acme/app/manifests/v1")).status_code == 404


@pytest.mark.parametrize("cookie", ["", "x", "\N{SNOWMAN}", "x" * 5000, "a" * 43])
async def test_a_cookie_that_is_none_of_ours_is_nobodys(world: World, cookie: str) -> None:
    client = Client(world)
    headers = [(b"Cookie", b"packhouse=" + cookie.encode())]
    response = await client.get("/-/ui/", headers=headers)  # type: ignore[arg-type]
    assert response.headers["location"] == SIGN_IN


async def test_a_sign_in_is_audited_like_one_at_the_token_door(world: World) -> None:
    person = await Person(world).signed_in("reader")
    assert (await person.get(SIGN_IN)).status_code == 303
    await Person(world).sign_in("reader", "wrong")
    await world.services.audit.flush()
    lines = await world.rows(
        "select l.result, a.name, l.times from audit l left join accounts a on a.id = l.account_id "
        "where l.kind = 'sign-in' order by l.result"
    )
    assert [tuple(line) for line in lines] == [("done", "reader", 1), ("failed", "reader", 1)]


async def test_the_first_login_is_forgotten_once_it_was_used(world: World) -> None:
    secret = world.config.directory / "first-login.txt"
    secret.write_text("x")
    await Person(world).signed_in("reader")
    assert secret.exists()
    await Person(world).signed_in("admin")
    assert not secret.exists()


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
            "Firefox on Linux",
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
            "like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.14.1", "curl/8.14.1"),
        ("Firefox/1", "Firefox"),
        ("", "a browser without a name"),
    ],
)
def test_a_browser_is_named_as_people_know_it(agent: str, name: str) -> None:
    assert name_browser(agent) == name


# Where to go after signing in


async def test_one_goes_on_to_the_page_that_one_came_for(world: World) -> None:
    person = Person(world)
    response = await person.sign_in("reader", following=quote("/-/ui/confirm?login=a_B-9", safe=""))
    assert response.headers["location"] == "/-/ui/confirm?login=a_B-9"
    response = await person.get(SIGN_IN + "?next=/-/ui/confirm")
    assert response.headers["location"] == "/-/ui/confirm"


HOSTILE = [
    "//evil.test",
    "/\\evil.test",
    "https://evil.test",
    "javascript:alert(1)",
    "/-/ui//evil.test",
    "/-/ui/../../evil",
    "/-/ui/%2e%2e/x",
    "/-/ui/\r\nSet-Cookie: x=y",
    "/-/ui/\t",
    "/-/ui/x\n",
    "/-/ui/?x=//evil.test",
    "/-/ui/@evil.test",
    "/-/ui",
    "/v2/",
    "/-/uix",
    "\0",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_one_never_goes_on_to_another_site(world: World, text: str) -> None:
    response = await Person(world).sign_in("reader", following=quote(text, safe=""))
    assert response.headers["location"] == "/-/ui/"
    person = Person(world)
    form = await person.form(SIGN_IN, SIGN_IN)
    fields = {**form.fields, "next": text, "name": "reader", "password": PASSWORD}
    assert (await person.post(SIGN_IN, fields)).headers["location"] == "/-/ui/"


@given(st.text() | st.text().map(lambda text: "/-/ui/" + text))
def test_where_to_go_on_is_always_a_page_of_ours(text: str) -> None:
    assert re.fullmatch(r"/-/ui/[a-z-]*(\?[\w=&-]+)?", parse_next(text), re.ASCII)
