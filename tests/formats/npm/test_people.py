"""npm owner, access, org and team."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.organizations import GroupRole
from auth.principals import Role, Scope, Visibility
from formats.npm.account_routes import account_routes
from formats.npm.names import parse_name
from formats.npm.people import People, asked_maintainers, read_maintainers
from registry.app import wire
from registry.debts import Debts
from registry.rest.needs import On
from registry.sign_in_limits import SignInLimits
from storage.database import Row
from storage.errors import PackhouseError
from tests.formats.npm.shop import Shop, adapters, application, told
from tests.registry.api.asking import ID
from tests.registry.client import Client
from tests.registry.test_access_table import Counted
from tests.registry.world import World

PAD = "/npm/-/package/@acme%2fpad"
PAD_NAME = parse_name("@acme/pad")
TEAM = "/npm/-/team/acme/core"
NO_LIMITS = SignInLimits(Debts.alone(), Debts.alone(), 0, 0)


@pytest.fixture
async def shop(world: World) -> Shop:
    """A shop with a private package and a team."""
    made = Shop(world)
    await made.publish("@acme/pad")
    await world.services.teams.create(OPERATOR, "acme/core")
    return made


async def say(client: Client, method: str, path: str, **body: Any) -> httpx.Response:
    return await client.request(method, path, json=body)


def people(shop: Shop) -> People:
    return account_routes(shop.world.services, NO_LIMITS).people


async def set_maintainers(
    shop: Shop, by: str, *names: str, before: Sequence[str] | None = None
) -> None:
    were = await maintainers(shop) if before is None else before
    await people(shop).set_maintainers(await shop.who(by), PAD_NAME.repository, were, names)


async def row_of_pad(shop: Shop) -> Row:
    (row,) = await shop.world.rows(
        f"select * from packages where repository = '{PAD_NAME.repository}'"
    )
    return row


async def maintainers(shop: Shop) -> list[str]:
    question = asked_maintainers((await row_of_pad(shop))["id"])
    return read_maintainers("acme", await shop.world.services.database.fetch(*question))


async def test_whoever_is_signed_in_finds_a_user(shop: Shop) -> None:
    path = "/npm/-/user/org.couchdb.user:{}"
    found = (await shop.person("stranger").get(path.format("Reader"))).json()
    assert (found["name"], found["email"]) == ("reader", "")
    for name in ("nobody-here", "acme", "acme+widget", "%C3%A9"):
        told(await shop.person("stranger").get(path.format(name)), 404)
    found = (await shop.person("reader").get(path.format("acme"))).json()
    assert found["name"] == "acme"
    told(await shop.person().get(path.format("reader")), 401)


async def test_maintainers_are_the_owner_and_who_administers_the_package(shop: Shop) -> None:
    assert await maintainers(shop) == ["acme"]
    await set_maintainers(shop, "owner", "acme", "stranger")
    assert await maintainers(shop) == ["acme", "stranger"]
    assert (await shop.person("stranger").get(PAD + "/collaborators")).json() == {
        "acme": "write",
        "stranger": "write",
    }
    await set_maintainers(shop, "stranger", "acme", "reader", "stranger")
    await set_maintainers(shop, "reader", "acme", "Reader")
    assert await maintainers(shop) == ["acme", "reader"]
    with pytest.raises(PackhouseError, match="may not"):
        await set_maintainers(shop, "stranger", "acme", "stranger")


async def test_two_who_add_somebody_at_once_undo_nothing(shop: Shop) -> None:
    seen = await maintainers(shop)
    await set_maintainers(shop, "owner", "acme", "stranger", before=seen)
    await set_maintainers(shop, "owner", "acme", "reader", before=seen)
    assert await maintainers(shop) == ["acme", "reader", "stranger"]


async def test_what_teams_may_is_neither_shown_nor_taken(shop: Shop) -> None:
    accounts, pad = shop.world.services.accounts, (await row_of_pad(shop))["id"]
    await accounts.grant(OPERATOR, PACKAGE, pad, "acme/core", Role.ADMIN)
    await accounts.grant(OPERATOR, PACKAGE, pad, "stranger", Role.WRITE)
    assert await maintainers(shop) == ["acme"]
    await set_maintainers(shop, "owner", "acme", "reader")
    await set_maintainers(shop, "owner", "acme")
    kept = {row["name"]: row["role"] for row in await accounts.grants(PACKAGE, pad)}
    assert kept == {"acme/core": Role.ADMIN, "stranger": Role.WRITE}


async def test_a_package_has_other_documents_once_its_maintainers_change(shop: Shop) -> None:
    before = (await row_of_pad(shop))["revision"]
    await set_maintainers(shop, "owner", "acme", "reader")
    given = (await row_of_pad(shop))["revision"]
    await set_maintainers(shop, "owner", "acme")
    taken = (await row_of_pad(shop))["revision"]
    await set_maintainers(shop, "owner", "acme")
    assert before < given < taken == (await row_of_pad(shop))["revision"]


@pytest.mark.parametrize(
    ("by", "names", "word"),
    [
        ("owner", ["stranger"], "owner for ever"),
        ("owner", [], "owner for ever"),
        ("owner", ["acme", "nobody-here"], "nobody-here"),
        ("owner", ["acme", "acme/core"], "acme/core"),
        ("owner", ["acme", *(f"user-{n}" for n in range(100))], "at most 100"),
        ("writer", ["acme", "writer"], "may not"),
        ("stranger", ["acme", "stranger"], "may not"),
    ],
)
async def test_other_maintainers_are_refused_and_nothing_changes(
    shop: Shop, by: str, names: list[str], word: str
) -> None:
    with pytest.raises(PackhouseError, match=word):
        await set_maintainers(shop, by, *names)
    assert await maintainers(shop) == ["acme"]


async def test_visibility_is_shown_and_changed(shop: Shop) -> None:
    assert (await shop.person("reader").get(PAD + "/visibility")).json() == {"public": False}
    owner = shop.person("owner")
    assert (await say(owner, "POST", PAD + "/access", access="public")).status_code == 200
    assert (await shop.person().get(PAD + "/visibility")).json() == {"public": True}
    assert (await say(owner, "POST", PAD + "/access", access="restricted")).status_code == 200
    told(await shop.person().get(PAD + "/visibility"), 401)


async def test_a_second_factor_is_never_wanted(shop: Shop) -> None:
    owner = shop.person("owner")
    assert (
        await say(owner, "POST", PAD + "/access", publish_requires_tfa=False)
    ).status_code == 200
    response = await say(owner, "POST", PAD + "/access", publish_requires_tfa=True)
    told(response, 405, "no second factor")
    assert response.headers["allow"] == "GET, HEAD, POST"


async def test_a_project_says_who_sees_its_packages(shop: Shop) -> None:
    services = shop.world.services
    project = await services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await services.packages.link(OPERATOR, "acme/npm/pad", project)
    told(await say(shop.person("owner"), "POST", PAD + "/access", access="public"), 409, "project")


@pytest.mark.parametrize("body", [{}, {"access": "everybody"}, {"access": 1}])
async def test_other_changes_of_access_are_refused(shop: Shop, body: dict[str, Any]) -> None:
    told(await say(shop.person("owner"), "POST", PAD + "/access", **body), 400)


async def test_who_may_do_no_such_thing_changes_no_access(shop: Shop) -> None:
    for name in ("writer", "reader", "stranger"):
        told(await say(shop.person(name), "POST", PAD + "/access", access="public"), 403)
        told(await shop.person(name).get(PAD + "/collaborators"), 403)
    weak = shop.holder(await shop.world.mint("owner", Scope.READ | Scope.WRITE))
    told(await say(weak, "POST", PAD + "/access", access="public"), 403)
    told(await say(shop.person(), "POST", PAD + "/access", access="public"), 401)
    told(await shop.person("reader").get("/npm/-/package/pad/visibility"), 404)


async def test_packages_of_an_owner_are_those_one_sees(shop: Shop) -> None:
    await shop.publish("@acme/other", visibility=Visibility.PUBLIC)
    for path in ("/npm/-/org/acme/package", "/npm/-/user/acme/package"):
        for name, seen in (
            ("writer", {"@acme/other": "write", "@acme/pad": "write"}),
            ("reader", {"@acme/other": "read", "@acme/pad": "read"}),
            ("stranger", {"@acme/other": "read"}),
        ):
            assert (await shop.person(name).get(path)).json() == seen
    assert (await shop.person("stranger").get("/npm/-/org/stranger/package")).json() == {}
    told(await shop.person("stranger").get("/npm/-/org/writer/package"), 404)
    told(await shop.person("stranger").get("/npm/-/org/nobody/package"), 404)
    told(await shop.person().get("/npm/-/org/acme/package"), 401)


async def test_one_s_own_packages_are_all_that_a_role_was_given_on(shop: Shop) -> None:
    """As `npm access list packages` asks, without a name: it means who asks."""
    await shop.publish("@acme/other", visibility=Visibility.PUBLIC)
    await shop.publish("@writer/own", by="writer")
    path = "/npm/-/org/{0}/package"
    both = ("@acme/other", "@acme/pad")
    for name, seen in (
        ("writer", {**dict.fromkeys(both, "write"), "@writer/own": "write"}),
        ("reader", dict.fromkeys(both, "read")),
        ("stranger", {}),
        ("admin", {}),
    ):
        assert (await shop.person(name).get(path.format(name))).json() == seen, name
    await set_maintainers(shop, "owner", "acme", "stranger")
    own = await shop.person("stranger").get(path.format("stranger"))
    assert own.json() == {"@acme/pad": "write"}


async def test_a_role_on_one_package_shows_in_the_list(shop: Shop) -> None:
    await set_maintainers(shop, "owner", "acme", "stranger")
    response = await shop.person("stranger").get("/npm/-/org/acme/package")
    assert response.json() == {"@acme/pad": "write"}


async def test_members_of_an_organization_are_listed_added_and_removed(shop: Shop) -> None:
    path, owner = "/npm/-/org/acme/user", shop.person("owner")
    assert (await owner.get(path)).json() == {"owner": "owner"}
    added = await say(owner, "PUT", path, user="@stranger", role="developer")
    assert added.json() == {
        "org": {"name": "acme", "size": 2},
        "user": "stranger",
        "role": "developer",
    }
    assert (await shop.person("stranger").get(path)).json() == {
        "owner": "owner",
        "stranger": "developer",
    }
    assert (await say(owner, "PUT", path, user="stranger", role="owner")).status_code == 200
    assert (await owner.get(path)).json()["stranger"] == "owner"
    assert (await say(owner, "DELETE", path, user="stranger")).status_code == 200
    assert (await owner.get(path)).json() == {"owner": "owner"}


async def test_members_are_refused_in_words(shop: Shop) -> None:
    path, owner = "/npm/-/org/acme/user", shop.person("owner")
    told(await say(owner, "PUT", path, user="stranger", role="admin"), 400, "owners and developers")
    told(await say(owner, "PUT", path, user="stranger", role="king"), 400)
    told(await say(owner, "PUT", path, user="nobody-here"), 404, "nobody-here")
    told(await say(owner, "DELETE", path, user="stranger"), 404)
    told(await say(owner, "DELETE", path, user="owner"), 409, "owner")
    told(await say(owner, "PUT", path, user="owner"), 409, "owner")
    told(await say(owner, "PUT", path), 400, "user")
    told(await say(shop.person("writer"), "PUT", path, user="writer", role="owner"), 403)
    told(await say(shop.person("owner"), "GET", "/npm/-/org/owner/user"), 404, "organization")
    assert (await owner.get(path)).json() == {"owner": "owner"}


async def test_teams_are_made_filled_and_ended(shop: Shop) -> None:
    owner = shop.person("owner")
    made = await say(owner, "PUT", "/npm/-/org/acme/team", name="web", description=None)
    assert made.status_code == 201
    assert (await owner.get("/npm/-/org/acme/team?format=cli")).json() == ["acme:core", "acme:web"]
    told(await say(owner, "PUT", "/npm/-/team/acme/web/user", user="stranger"), 409, "no member")
    await say(owner, "PUT", "/npm/-/org/acme/user", user="stranger")
    assert (await say(owner, "PUT", TEAM + "/user", user="stranger")).json() == {"user": "stranger"}
    assert (await owner.get(TEAM + "/user?format=cli")).json() == ["stranger"]
    assert (await say(owner, "DELETE", TEAM + "/user", user="stranger")).status_code == 200
    told(await say(owner, "DELETE", TEAM + "/user", user="stranger"), 404)
    assert (await owner.delete("/npm/-/team/acme/web")).status_code == 200
    assert (await owner.get("/npm/-/org/acme/team")).json() == ["acme:core"]
    told(await owner.delete("/npm/-/team/acme/web"), 404)
    told(await say(owner, "PUT", "/npm/-/org/acme/team", name="core"), 409, "exists")
    told(await say(owner, "PUT", "/npm/-/org/acme/team", name="a/b"), 400, "team name")


async def test_who_is_in_a_team_already_stays_what_he_is(shop: Shop) -> None:
    services = shop.world.services
    await services.organizations.add(OPERATOR, "acme", "stranger", owner=False)
    await services.teams.add(OPERATOR, "acme/core", "stranger", GroupRole.MAINTAINER)
    assert (await say(shop.person("stranger"), "PUT", TEAM + "/user", user="stranger")).is_success
    (row,) = await services.teams.members("acme/core")
    assert row["role"] == GroupRole.MAINTAINER


async def test_teams_get_roles_on_packages(shop: Shop) -> None:
    owner, path = shop.person("owner"), TEAM + "/package"
    given = await say(owner, "PUT", path, package="@acme/pad", permissions="read-write")
    assert given.status_code == 200
    assert (await owner.get(path)).json() == {"@acme/pad": "write"}
    assert (await owner.get(PAD + "/collaborators")).json() == {
        "acme": "write",
        "acme:core": "write",
    }
    await say(owner, "PUT", path, package="@acme/pad", permissions="read-only")
    assert (await owner.get(path)).json() == {"@acme/pad": "read"}
    assert (await say(owner, "DELETE", path, package="@acme/pad")).status_code == 200
    told(await say(owner, "DELETE", path, package="@acme/pad"), 404, "no role")
    assert (await owner.get(path)).json() == {}
    told(await say(owner, "PUT", path, package="pad", permissions="read-only"), 400, "scoped")
    told(await say(owner, "PUT", path, package="@acme/gone", permissions="read-only"), 404)
    told(await say(owner, "PUT", path, package="@acme/pad", permissions="all"), 400)


async def test_a_team_lists_what_it_has_by_its_owner_and_projects(shop: Shop) -> None:
    services, owner = shop.world.services, shop.person("owner")
    await shop.publish("@acme/_old")
    project = await services.projects.create(OPERATOR, "acme/widget", Visibility.PRIVATE)
    await services.packages.link(OPERATOR, "acme/npm/pad", project)
    await services.accounts.grant(OPERATOR, PROJECT, project, "acme/core", Role.WRITE)
    assert (await owner.get(TEAM + "/package")).json() == {"@acme/pad": "write"}
    acme = await services.accounts.get("acme")
    await services.accounts.grant(OPERATOR, OWNER, acme.id, "acme/core", Role.READ)
    seen = {"@acme/_old": "read", "@acme/pad": "write"}
    assert (await owner.get(TEAM + "/package")).json() == seen
    await services.accounts.grant(OPERATOR, PROJECT, project, "acme/core", Role.READ)
    await services.accounts.grant(OPERATOR, OWNER, acme.id, "acme/core", Role.WRITE)
    seen = {"@acme/_old": "write", "@acme/pad": "write"}
    assert (await owner.get(TEAM + "/package")).json() == seen


async def test_a_team_gives_itself_nothing(shop: Shop) -> None:
    services, body = shop.world.services, {"package": "@acme/pad", "permissions": "read-write"}
    for name, role in (("reader", GroupRole.MEMBER), ("writer", GroupRole.MAINTAINER)):
        await services.organizations.add(OPERATOR, "acme", name, owner=False)
        await services.teams.add(OPERATOR, "acme/core", name, role)
        assert (await shop.person(name).get(TEAM + "/package")).json() == {}
        told(await say(shop.person(name), "PUT", TEAM + "/package", **body), 403, "may not")
        told(await say(shop.person(name), "DELETE", TEAM + "/package", **body), 403, "may not")
    weak = shop.holder(await shop.world.mint("owner", Scope.READ | Scope.WRITE))
    told(await say(weak, "PUT", TEAM + "/package", **body), 403, "may not")


async def test_who_may_not_changes_no_team(shop: Shop) -> None:
    body = {"name": "x", "user": "writer", "package": "@acme/pad", "permissions": "read-write"}
    for name, status in (("writer", 403), ("stranger", 403), ("", 401)):
        client = shop.person(name)
        told(await say(client, "PUT", "/npm/-/org/acme/team", **body), status)
        told(await say(client, "DELETE", TEAM), status)
        told(await say(client, "PUT", TEAM + "/user", **body), status)
        told(await say(client, "DELETE", TEAM + "/user", **body), status)
    for name, status in (("writer", 404), ("stranger", 404), ("", 401)):
        client = shop.person(name)
        told(await say(client, "PUT", TEAM + "/package", **body), status)
        told(await say(client, "DELETE", TEAM + "/package", **body), status)
    told(await shop.person("stranger").get("/npm/-/org/acme/team"), 404)
    told(await shop.person("stranger").get(TEAM + "/user"), 404)


HIDDEN = [
    *(f"/npm/-/package/@acme%2f{{}}/{what}" for what in ("visibility", "access", "collaborators")),
    "/npm/-/npm/v1/attestations/@acme%2f{}@1.0.0",
    "/auth/npm/-/package/@acme/{}/visibility",
]


@pytest.mark.parametrize("path", HIDDEN)
@pytest.mark.parametrize("name", ["stranger", ""])
async def test_hidden_and_unknown_packages_are_alike(shop: Shop, path: str, name: str) -> None:
    """By status, words, headers, and the statements that are run."""
    ran: list[str] = []
    services = shop.world.services
    counted = wire(
        shop.world.config, Counted(services.database, ran), services.store, shop.world.clock
    )
    client = Client(application(counted), shop.person(name).authorization)
    seen = set()
    for package in ("pad", "dap"):
        for method in ("GET", "POST"):
            ran.clear()
            response = await client.request(
                method,
                path.format(package),
                json={"access": "public"},
                headers={"X-Request-Id": ID},
            )
            assert response.status_code in (401, 403, 404, 405)
            text = response.text.replace("dap", "pad")
            headers = [pair for pair in response.headers.items() if pair[0] != "content-length"]
            said = str(headers).replace("dap", "pad")
            seen.add((method, response.status_code, said, text, tuple(ran)))
    assert len(seen) == 2


def test_every_route_says_what_it_needs(shop: Shop) -> None:
    (npm,) = adapters(shop.world.services, NO_LIMITS)
    for route in [*npm.routes(), *npm.root_routes()]:
        assert route.need.on is not On.NOTHING or route.need.why
