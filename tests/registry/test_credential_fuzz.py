"""Anything at all as a credential, a scope or a form: the answer is 401 or 400, never a failure."""

import base64
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from auth.oauth import parse_form
from auth.routes import MAX_SCOPES, parse_scopes
from auth.tokens import mint
from storage.errors import Invalid
from tests.registry.client import Client, basic
from tests.registry.test_token import claims
from tests.registry.world import World

anything = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(st.characters(codec="utf-8"), max_size=60)
header_bytes = st.binary(max_size=80).map(lambda data: data.translate(None, b"\r\n\0"))
schemes = st.sampled_from([b"Basic ", b"Bearer ", b"bearer\t", b"", b"Digest ", b"phu_", b"phf_"])
parts = st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.none() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"alg": st.sampled_from(["none", "ES256", "HS256", "", "es256"])},
        optional={"kid": texts | st.integers(), "jwk": st.just({}), "b64": st.booleans()},
    ).map(lambda value: json.dumps(value).encode()),
)
jwts = st.lists(parts, min_size=2, max_size=4).map(
    lambda found: b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in found)
)
values = st.one_of(
    st.tuples(schemes, header_bytes).map(b"".join),
    st.tuples(schemes, header_bytes.map(base64.b64encode)).map(b"".join),
    jwts.map(lambda text: b"Bearer " + text),
)
DEEP = base64.urlsafe_b64encode(b"[" * 20_000).rstrip(b"=")


@pytest.mark.parametrize("path", ["/token", "/v2/", "/v2/acme/app/manifests/v1"])
@anything
@given(value=values)
@example(value=b"Bearer " + b".".join((DEEP, DEEP, b"AAAA")))
@example(value=b"Bearer " + b"a" * 60_000)
@example(value=b"Bearer " + b"." * 60_000)
@example(value=b"Bearer QQ==")
@example(value=b"Basic " + base64.b64encode(b"\xff:\xff"))
async def test_an_authorization_is_good_or_401(world: World, path: str, value: bytes) -> None:
    client = Client(world)
    answer = await client.get(path, headers=[(b"authorization", value)])
    nobody = not value.strip() or value.split() == [b"Bearer", b"QQ=="]
    assert answer.status_code == 401 or (nobody and answer.status_code == 200), answer.text


@anything
@given(value=header_bytes | texts.map(str.encode))
@example(value=mint("user").encode())
@example(value=b"Bearer " + mint("job").encode())
@example(value=b"phu_" + b"0" * 60_000)
async def test_an_api_key_is_good_or_401(world: World, value: bytes) -> None:
    value = value.translate(None, b"\r\n\0")
    answer = await Client(world).get("/v2/", headers=[(b"x-nuget-apikey", value)])
    assert answer.status_code == 401, answer.text


@anything
@given(change=st.tuples(st.integers(0, 10**6), st.integers(0, 255)))
async def test_a_bearer_with_one_byte_changed_is_no_more(
    world: World, change: tuple[int, int]
) -> None:
    good = (await world.client("writer").token()).encode()
    at = change[0] % len(good)
    bad = (
        good[:at]
        + bytes([change[1]]).translate(bytes.maketrans(b"\r\n\0", b"..."))
        + good[at + 1 :]
    )
    answer = await Client(world).get("/v2/", headers=[(b"authorization", b"Bearer " + bad)])
    # The last character of a signature holds bits that no byte of it is made of.
    assert answer.status_code == 401 or bad == good or at == len(good) - 1


@anything
@given(values=st.lists(texts | st.sampled_from(["repository:acme/app:pull", ":::", "a:b:c,,"])))
@example(values=["repository:" + "a/" * 10_000 + ":pull"])
@example(values=[" ".join(f"a:{number}:c" for number in range(MAX_SCOPES + 1))])
async def test_scopes_are_read_or_refused(world: World, values: list[str]) -> None:
    try:
        scopes = parse_scopes(values)
    except Invalid:
        scopes = None
    else:
        assert all(":" in resource for resource in scopes)
    client = Client(world, basic("writer", world.tokens["writer"]))
    answer = await client.get("/token", params={"scope": values[:20]})
    assert answer.status_code == 200 or (scopes is None and answer.status_code == 400)


words = st.sampled_from(
    [
        *("repository", "repository(plugin)", "registry", "acme/app", "acme/", "app", "stranger/x"),
        *(":", "::", ",", " ", "/", "*", "%2F", "..", "pull", "push", "delete", "catalog", "\0"),
    ]
)


@anything
@given(scope=st.lists(words, max_size=12).map("".join))
@example(scope="repository:acme/app:pull,push,delete,*")
@example(scope="repository:stranger/x/../../acme/app:pull")
@example(scope="repository:acme/app:pull:stranger/x:pull")
async def test_no_scope_gets_more_than_its_account_may(world: World, scope: str) -> None:
    """A stranger has rights below his own name, and may ask for the catalog."""
    client = Client(world, basic("stranger", world.tokens["stranger"]))
    answer = await client.get("/token", params={"scope": scope})
    for entry in claims(answer.json()["token"])["access"]:
        kind, name = entry["type"], entry["name"]
        own = kind == "repository" and name.startswith("stranger/") and ".." not in name
        assert own or (kind, name) == ("registry", "catalog") or entry["actions"] == [], entry


@anything
@given(body=st.binary(max_size=200) | texts.map(str.encode))
@example(body=b"grant_type=password&username=%00&password=%00&scope=%00")
@example(body=b"grant_type=refresh_token&refresh_token=phf_%C3%A9")
@example(body=b"grant_type=password&username=writer&password=" + b"%F0%9F%98%80" * 3000)
async def test_a_form_is_good_or_refused(world: World, body: bytes) -> None:
    try:
        form = parse_form(body)
    except Invalid:
        form = {}
    assert all(isinstance(value, str) for found in form.values() for value in found)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await Client(world).post("/token", content=body, headers=headers)
    assert answer.status_code in (400, 401, 429), answer.text
    assert set(answer.json()) == {"error", "error_description"}
