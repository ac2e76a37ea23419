"""What programs ask of GitHub's API before they ask for packages."""

from auth.principals import Visibility
from tests.registry.client import Client
from tests.registry.github.asking import V3, refused, shown
from tests.registry.world import World


async def test_the_root_says_where_things_are(world: World, anonymous: Client) -> None:
    for path in (V3, f"{V3}/"):
        found = (await anonymous.get(path)).json()
        assert found["current_user_url"] == f"http://registry.test{V3}/user"
        assert all(url.startswith(f"http://registry.test{V3}/") for url in found.values())
    refused(await anonymous.get(f"{V3}/nothing"), 404, "nothing at this path")
    refused(await anonymous.post(f"{V3}/user"), 405, "GET, HEAD")
    refused(await anonymous.raw("GET", f"{V3}//user"), 400, "//")


async def test_the_caller(world: World, reader: Client) -> None:
    found = shown(await reader.get(f"{V3}/user"), "public-user")
    assert (found["login"], found["type"], found["site_admin"]) == ("reader", "User", False)
    assert found["id"] == (await world.services.accounts.get("reader")).id
    admin = world.client("admin")
    assert shown(await admin.get(f"{V3}/user"), "public-user")["site_admin"] is True
    refused(await world.client("").get(f"{V3}/user"), 401, "sign in")
    refused(await world.signed_in("reader").get(f"{V3}/user"), 401, "use a token")
    wrong = world.client("").with_authorization("token phu_wrong")
    refused(await wrong.get(f"{V3}/user"), 401, "wrong user name, password or token")
    bearer = await reader.bearer("repository:acme/app:pull")
    refused(await bearer.get(f"{V3}/user"), 401, "/v2 only")


async def test_accounts_are_shown_to_who_sees_anything_of_theirs(world: World) -> None:
    reader, stranger, anonymous = (world.client(name) for name in ("reader", "stranger", ""))
    acme = shown(await reader.get(f"{V3}/orgs/acme"), "organization-full")
    assert (acme["login"], acme["public_repos"]) == ("acme", 0)
    found = shown(await reader.get(f"{V3}/users/acme"), "public-user")
    assert (found["type"], found["id"]) == ("Organization", acme["id"])
    refused(await stranger.get(f"{V3}/orgs/acme"), 404, "you may not see it")
    refused(await anonymous.get(f"{V3}/orgs/acme"), 401, "sign in")
    await world.client().push_image("acme/app", "v1")
    await world.publish("acme/app", Visibility.INTERNAL)
    assert (await stranger.get(f"{V3}/orgs/acme")).json() == acme
    refused(await anonymous.get(f"{V3}/orgs/acme"), 401, "sign in")
    await world.publish("acme/app", Visibility.PUBLIC)
    assert (await anonymous.get(f"{V3}/orgs/acme")).json() == acme
    await world.client().delete(f"{V3}/orgs/acme/packages/container/app")
    refused(await anonymous.get(f"{V3}/orgs/acme"), 401, "sign in")


async def test_kinds_of_accounts_are_kept_apart(world: World) -> None:
    admin = world.client("admin")
    assert shown(await admin.get(f"{V3}/users/writer"), "public-user")["type"] == "User"
    assert shown(await admin.get(f"{V3}/users/admin"), "public-user")["site_admin"] is False
    refused(await admin.get(f"{V3}/orgs/writer"), 404)
    refused(await admin.get(f"{V3}/orgs/nobody"), 404)
    refused(await admin.get(f"{V3}/orgs/a_b"), 400, "a_b")
