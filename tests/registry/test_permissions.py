"""Who may do what: principals by actions by visibility, and rights that change under way."""

import itertools
from collections.abc import AsyncIterator

import httpx
import pytest

from auth.audit import OPERATOR
from auth.principals import Role, Scope, Visibility
from tests.registry.client import Challenge, Client, basic, digest_of, image_manifest, refused
from tests.registry.world import PASSWORD, World

LAYER = b"a layer"
NAME = "acme/app"
PRIVATE, INTERNAL, PUBLIC = Visibility.PRIVATE, Visibility.INTERNAL, Visibility.PUBLIC
READS = ("manifest", "blob", "tags", "referrers")
WRITES = ("upload", "put blob", "put manifest", "delete tag", "delete manifest", "delete blob")

MAY_READ = {
    "": {PUBLIC},
    "stranger": {INTERNAL, PUBLIC},
    "reader": {PRIVATE, INTERNAL, PUBLIC},
    "writer": {PRIVATE, INTERNAL, PUBLIC},
    "owner": {PRIVATE, INTERNAL, PUBLIC},
    "admin": {PRIVATE, INTERNAL, PUBLIC},
}
MAY_WRITE = {"writer", "owner", "admin"}


async def act(client: Client, action: str, name: str = NAME) -> httpx.Response:
    """Do one thing to a repository, in the state that `stocked` leaves it."""
    base = f"/v2/{name}"
    image = image_manifest(b"config", LAYER)
    if action == "put manifest":
        return await client.put_manifest(name, "new", image)
    calls = {
        "manifest": ("GET", f"{base}/manifests/v1"),
        "blob": ("GET", f"{base}/blobs/{digest_of(LAYER)}"),
        "tags": ("GET", f"{base}/tags/list"),
        "referrers": ("GET", f"{base}/referrers/{digest_of(b'x')}"),
        "upload": ("POST", f"{base}/blobs/uploads/"),
        "put blob": ("POST", f"{base}/blobs/uploads/?digest={digest_of(b'new')}"),
        "delete tag": ("DELETE", f"{base}/manifests/v2"),
        "delete manifest": ("DELETE", f"{base}/manifests/{digest_of(b'')}"),
        "delete blob": ("DELETE", f"{base}/blobs/{digest_of(b'loose')}"),
    }
    method, path = calls[action]
    return await client.request(method, path, content=b"new" if action == "put blob" else b"")


@pytest.fixture
async def stocked(world: World) -> World:
    """A world whose acme/app holds an image as v1 and v2, and a blob nothing names."""
    writer = world.client("writer")
    for data in (b"config", b"loose"):
        await writer.push_blob(NAME, data)
    await writer.push_blob(NAME, LAYER)
    image = image_manifest(b"config", LAYER)
    for tag in ("v1", "v2"):
        await writer.push_manifest(NAME, tag, image)
    return world


def allowed(response: httpx.Response, action: str) -> bool:
    """Whether a request got past the door; deleting what is not there is a 404 behind it."""
    if action == "delete manifest":
        code = response.json()["errors"][0]["code"] if response.content else ""
        return code == "MANIFEST_UNKNOWN"
    return response.is_success


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize("who", MAY_READ)
async def test_the_matrix(stocked: World, who: str, visibility: Visibility) -> None:
    await stocked.publish(NAME, visibility)
    scope = f"repository:{NAME}:pull,push,delete"
    for client in (stocked.client(who), await stocked.client(who).bearer(scope)):
        for action in READS:
            response = await act(client, action)
            assert allowed(response, action) == (visibility in MAY_READ[who]), (action, response)
        if who in MAY_WRITE:
            continue
        before = await stocked.footprint()
        for action in WRITES:
            response = await act(client, action)
            assert not allowed(response, action), (action, response)
            assert response.status_code == (401 if client.authorization == "" else 403)
        assert await stocked.footprint() == before


@pytest.mark.parametrize("who", sorted(MAY_WRITE))
async def test_writers_write(stocked: World, who: str) -> None:
    bearer = await stocked.client(who).bearer(f"repository:{NAME}:pull,push,delete")
    for client in (stocked.client(who), bearer):
        for action in ("upload", "put blob", "put manifest", "delete manifest"):
            response = await act(client, action)
            assert allowed(response, action), (action, response.text)
    for action in ("delete tag", "delete blob"):
        response = await act(stocked.client(who), action)
        assert response.status_code == 202, (action, response.text)


NOT_COMPARED = ("content-length", "x-request-id")


def scrubbed(response: httpx.Response, name: str) -> tuple[int, str, list[tuple[str, str]]]:
    """An answer without the name that was asked for and the number of the request."""
    headers = [(key, value.replace(name, "NAME")) for key, value in response.headers.items()]
    headers = [(key, value) for key, value in headers if key not in NOT_COMPARED]
    text = response.text.replace(name, "NAME").replace(response.headers["x-request-id"], "ID")
    return response.status_code, text, headers


@pytest.mark.parametrize("who", ["", "stranger", "anonymous bearer", "bearer"])
async def test_hidden_and_unknown_are_not_told_apart(stocked: World, who: str) -> None:
    names = [NAME, "acme/none", "nobody/none"]
    client = stocked.client("stranger" if who in ("stranger", "bearer") else "")
    if "bearer" in who:
        client = await client.bearer(*[f"repository:{name}:pull,push,delete" for name in names])
    for action, method in itertools.product((*READS, *WRITES), ("", "HEAD")):
        answers = []
        for name in names:
            response = await act(client, action, name)
            if method == "HEAD":
                response = await client.head(str(response.request.url.raw_path.decode()))
            answers.append(scrubbed(response, name))
        owners = [
            str(answer).replace("acme", "OWNER").replace("nobody", "OWNER") for answer in answers
        ]
        assert len(set(owners)) == 1, (action, owners)


async def test_a_stranger_who_may_not_read_gets_404_and_may_not_write_403(stocked: World) -> None:
    stranger = stocked.client("stranger")
    for action in READS:
        refused(await act(stranger, action), 404, "NAME_UNKNOWN", "you may not see it")
    for action in WRITES:
        response = await act(stranger, action)
        refused(response, 403, "DENIED", "stranger may not", "packhouse grant acme stranger write")
        assert Challenge.of(response).scope.startswith(f"repository:{NAME}:pull,")


async def test_the_anonymous_are_asked_to_sign_in(stocked: World) -> None:
    anonymous = stocked.client("")
    for action in (*READS, *WRITES):
        response = await act(anonymous, action)
        refused(response, 401, "UNAUTHORIZED", "sign in")
        assert Challenge.of(response).scope.startswith(f"repository:{NAME}:pull")


@pytest.mark.parametrize("who", ["", "stranger", "reader"])
async def test_head_knows_three_answers(stocked: World, who: str) -> None:
    """containerd ends a push on anything else."""
    client = stocked.client(who)
    paths = [
        f"/v2/{NAME}/manifests/v1",
        f"/v2/{NAME}/blobs/{digest_of(LAYER)}",
        "/v2/acme/x/tags/list",
    ]
    odd = [
        "/v2/alpine/manifests/v1",
        "/v2/acme/App/manifests/v1",
        "/v2/acme/app/manifests/-",
        "/v2/",
    ]
    for path in (*paths, *odd, "/v2/_catalog", "/v2/acme/npm/x/manifests/v1", "/v2/a//b", "/v2/x"):
        response = await client.head(path)
        assert response.status_code in (200, 401, 404), path
        assert response.content == b""


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (Scope.READ, set(READS)),
        (Scope.READ | Scope.WRITE, {*READS, "upload", "put blob", "put manifest"}),
        (Scope.READ | Scope.DELETE, {*READS, "delete manifest", "delete tag", "delete blob"}),
        (Scope.WRITE, {"upload", "put blob", "put manifest"}),
        (Scope.NONE, set()),
    ],
)
async def test_a_token_does_what_its_scopes_say(
    stocked: World, scopes: Scope, may: set[str]
) -> None:
    text = await stocked.mint("owner", scopes)
    basic_client = stocked.client("").with_authorization(basic("owner", text))
    bearer = await basic_client.bearer(f"repository:{NAME}:pull,push,delete")
    for client in (bearer, stocked.client("").with_authorization(f"Bearer {text}"), basic_client):
        for action in (*READS, *WRITES):
            if action in ("delete tag", "delete blob") and client is not basic_client:
                continue
            response = await act(client, action)
            assert allowed(response, action) == (action in may), (action, response.text)
            if action not in may:
                assert response.status_code == (404 if action in READS else 403)


async def test_a_read_only_token_reads_what_is_public_and_writes_nothing(stocked: World) -> None:
    await stocked.publish(NAME)
    text = await stocked.mint("admin", Scope.READ)
    client = stocked.client("").with_authorization(basic("admin", text))
    assert (await act(client, "manifest")).is_success
    refused(await act(client, "put manifest"), 403, "DENIED", "needs the scope 'write'")
    refused(await act(client, "delete tag"), 403, "DENIED", "needs the scope 'delete'")


async def test_a_bearer_is_a_bound_and_no_grant(stocked: World) -> None:
    writer = stocked.signed_in("writer")
    pull = await writer.bearer(f"repository:{NAME}:pull")
    assert (await act(pull, "manifest")).is_success
    response = await act(pull, "put manifest")
    refused(response, 401, "UNAUTHORIZED", f"repository:{NAME}:pull,push")
    assert Challenge.of(response).scope == f"repository:{NAME}:pull,push"
    other = await writer.bearer("repository:acme/other:pull,push,delete")
    for action in (*READS, *WRITES):
        refused(await act(other, action), 401, "UNAUTHORIZED", f"repository:{NAME}:pull")


async def test_a_bearer_with_no_actions_ends_the_loop(stocked: World) -> None:
    """One that names the repository gets 404 or 403, or clients would fetch tokens for ever."""
    stranger = await stocked.signed_in("stranger").bearer(f"repository:{NAME}:pull,push")
    refused(await act(stranger, "manifest"), 404, "NAME_UNKNOWN")
    refused(await act(stranger, "put manifest"), 403, "DENIED")
    nobody = await stocked.client("").bearer(f"repository:{NAME}:pull,push")
    refused(await act(nobody, "manifest"), 404, "NAME_UNKNOWN")
    refused(await act(nobody, "put manifest"), 403, "DENIED", "nobody is signed in")


ENDS = [
    *[("credential", end) for end in ("revoked", "expired", "disabled")],
    *[("bearer", end) for end in ("revoked", "expired", "disabled", "new password")],
]


@pytest.mark.parametrize(("kind", "end"), ENDS)
async def test_an_end_holds_for_the_next_request_on_every_worker(
    stocked: World, kind: str, end: str
) -> None:
    text = await stocked.mint("writer", expires_in=100)
    person = stocked.client("").with_authorization(basic("writer", text))
    if end == "new password":
        person = stocked.signed_in("writer")
    client = person
    if kind == "bearer":
        client = await person.bearer(f"repository:{NAME}:pull,push,delete")
    async with stocked.another_worker() as other:
        for worker in (stocked, other):
            assert (await act(Client(worker, client.authorization), "manifest")).is_success
        await finish(stocked, end, text)
        for worker in (other, stocked):
            ended = Client(worker, client.authorization)
            for action in (*READS, *WRITES):
                response = await act(ended, action)
                refused(response, 401, "UNAUTHORIZED")
                assert Challenge.of(response).scope.startswith(f"repository:{NAME}:pull")
            refused(await ended.get("/v2/"), 401, "UNAUTHORIZED")


async def finish(world: World, end: str, text: str) -> None:
    accounts = world.services.accounts
    if end == "revoked":
        await world.revoke(text)
    elif end == "expired":
        world.clock.advance(100)
    elif end == "disabled":
        await accounts.set_enabled(OPERATOR, "writer", enabled=False)
    else:
        await accounts.set_password(OPERATOR, "writer", "another long password")


async def test_an_ended_credential_reads_not_even_what_is_public(stocked: World) -> None:
    await stocked.publish(NAME)
    await stocked.revoke(stocked.tokens["stranger"])
    refused(await act(stocked.client("stranger"), "manifest"), 401, "UNAUTHORIZED", "revoked")


async def test_an_ended_credential_learns_of_no_name_what_it_is(stocked: World) -> None:
    names = [NAME, "acme/none", "nobody/none"]
    credential = stocked.client("stranger")
    bearer = await credential.bearer(*[f"repository:{name}:pull,push,delete" for name in names])
    await stocked.revoke(stocked.tokens["stranger"])
    for client, action in itertools.product((credential, bearer), (*READS, *WRITES)):
        for name in names:
            refused(await act(client, action, name), 401, "UNAUTHORIZED", "revoked")


async def test_a_disabled_account_comes_back_when_enabled(stocked: World) -> None:
    await stocked.services.accounts.set_enabled(OPERATOR, "reader", enabled=False)
    refused(await act(stocked.client("reader"), "manifest"), 401, "UNAUTHORIZED", "disabled")
    assert (await stocked.signed_in("reader").get("/token")).status_code == 401
    await stocked.services.accounts.set_enabled(OPERATOR, "reader", enabled=True)
    assert (await act(stocked.client("reader"), "manifest")).is_success


async def test_a_new_password_ends_what_the_old_one_opened(stocked: World) -> None:
    bearer = await stocked.signed_in("writer").bearer(f"repository:{NAME}:pull")
    await stocked.services.accounts.set_password(OPERATOR, "writer", "another long password")
    refused(await act(bearer, "manifest"), 401, "UNAUTHORIZED", "password was changed")
    refused(await stocked.signed_in("writer").get("/token"), 401, "UNAUTHORIZED")
    assert (
        await Client(stocked, basic("writer", "another long password")).get("/token")
    ).is_success
    assert (await act(stocked.client("writer"), "manifest")).is_success


async def test_a_role_counts_at_once(stocked: World) -> None:
    client = await stocked.signed_in("stranger").bearer(f"repository:{NAME}:pull,push")
    assert (await act(client, "manifest")).status_code == 404
    await stocked.set_role("stranger", Role.READ)
    response = await act(client, "manifest")
    assert response.status_code == 401, "the bearer was fetched without: the next one will do"
    bearer = await stocked.signed_in("stranger").bearer(Challenge.of(response).scope)
    assert (await act(bearer, "manifest")).is_success
    await stocked.set_role("stranger", Role.NONE)
    assert (await act(bearer, "manifest")).status_code == 404


async def test_visibility_counts_at_once(stocked: World) -> None:
    anonymous = stocked.client("")
    for visibility, status in ((PUBLIC, 200), (PRIVATE, 401), (PUBLIC, 200), (INTERNAL, 401)):
        await stocked.publish(NAME, visibility)
        assert (await act(anonymous, "manifest")).status_code == status


async def test_what_may_be_made_answers_as_empty_to_who_may_make_it(stocked: World) -> None:
    for who in MAY_READ:
        status = 200 if who in MAY_WRITE else 401 if who == "" else 404
        for action in ("tags", "referrers"):
            response = await act(stocked.client(who), action, "acme/new")
            assert response.status_code == status, (who, action)


async def test_a_user_owns_its_own_namespace_only(stocked: World) -> None:
    stranger = stocked.client("stranger")
    await stranger.push_image("stranger/app", "v1")
    await stocked.client("admin").push_image("stranger/app", "v2")
    for name in ("acme/app", "writer/app", "nobody/app"):
        response = await stranger.post(f"/v2/{name}/blobs/uploads/")
        refused(response, 403, "DENIED", f"packhouse grant {name.partition('/')[0]} stranger write")
    refused(await stocked.client("writer").get("/v2/stranger/app/tags/list"), 404, "NAME_UNKNOWN")


async def test_an_organization_does_not_sign_in(stocked: World) -> None:
    assert (await Client(stocked, basic("acme", PASSWORD)).get("/token")).status_code == 401


async def test_a_write_needs_its_right_before_its_body_is_read(stocked: World) -> None:
    """A stranger's megabytes are not received."""

    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    for who, status in (("reader", 403), ("", 401)):
        client = stocked.client(who)
        upload = f"/v2/{NAME}/blobs/uploads/?digest={digest_of(b'x')}"
        assert (await client.post(upload, content=unread())).status_code == status
        manifest = f"/v2/{NAME}/manifests/v1"
        assert (await client.put(manifest, content=unread())).status_code == status
