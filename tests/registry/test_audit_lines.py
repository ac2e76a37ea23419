"""Every change names who made it: the lines of the audit, word for word, and the list of them."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.organizations import GroupRole
from auth.principals import ANONYMOUS, Principal, Role, Scope, Visibility
from auth.tokens import NewToken
from registry.renaming import Renaming
from storage.clock import rfc3339
from storage.errors import Conflict, NotFound
from storage.names import parse_repository, parse_tag
from tests.registry.test_oauth_form import refresh, sign_in
from tests.registry.world import World

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "audit.md").read_text()
Told = tuple[str, str, str]


@pytest.fixture
async def who(world: World) -> Principal:
    """A person as a request brings him."""
    found = await world.services.tokens.find(world.tokens["owner"])
    assert found is not None
    world.clock.advance(1)
    return Principal(
        found.account_id,
        found.name,
        found.kind,
        found.token_id,
        address="192.0.2.7",
        request_id="request-7",
    )


async def told(world: World, who: Principal, since: int) -> list[Told]:
    """What the audit holds since a moment, all of which `who` did."""
    rows = await world.services.audit.list(since=since)
    expected = (who.name, who.token_id, who.address, who.request_id, "done", 1)
    for row in rows:
        by = (row["account"], row["token_id"], row["address"], row["request_id"])
        assert (*by, row["result"], row["times"]) == expected, row["kind"]
    return [(row["kind"], row["subject"], row["detail"]) for row in rows]


async def test_what_is_done_to_people_and_owners(world: World, who: Principal) -> None:
    since, services = world.clock(), world.services
    accounts = services.accounts
    await accounts.create_user(who, "eve", "a long password", admin=True)
    await accounts.create_user(who, "mallory", None)
    await accounts.set_password(who, "eve", "another long password")
    await accounts.set_enabled(who, "eve", enabled=False)
    await accounts.set_enabled(who, "eve", enabled=True)
    await accounts.create_organization(who, "globex", "eve")
    await accounts.create_organization(who, "initech")
    await accounts.set_default_visibility(who, "globex", Visibility.PUBLIC)
    ends_at = await services.keys.rotate(who, 60)
    assert await told(world, who, since) == [
        ("user.create", "eve", "site administrator"),
        ("user.create", "mallory", ""),
        ("user.password", "eve", ""),
        ("user.disable", "eve", ""),
        ("user.enable", "eve", ""),
        ("organization.create", "globex", "eve"),
        ("organization.create", "initech", ""),
        ("owner.default-visibility", "globex", "public"),
        ("key.rotate", "", f"old ones end {rfc3339(ends_at)}"),
    ]
    *_, globex, keys = await services.audit.list(since=since)
    assert (globex["owner"], keys["owner"]) == ("globex", None)
    assert "long password" not in str([tuple(row) for row in await services.audit.list()])


async def test_what_is_done_to_groups(world: World, who: Principal) -> None:
    since, services = world.clock(), world.services
    await services.organizations.add(who, "acme", "reader", owner=False)
    await services.organizations.add(who, "acme", "reader", owner=True)
    await services.teams.create(who, "acme/devs")
    await services.teams.add(who, "acme/devs", "reader", GroupRole.MEMBER)
    await services.teams.add(who, "acme/devs", "reader", GroupRole.MAINTAINER)
    await services.teams.remove(who, "acme/devs", "reader")
    await services.teams.delete(who, "acme/devs")
    await services.organizations.remove(who, "acme", "reader")
    assert await told(world, who, since) == [
        ("organization.add", "acme", "reader as member"),
        ("organization.role", "acme", "reader as owner"),
        ("team.create", "acme/devs", ""),
        ("team.add", "acme/devs", "reader as member"),
        ("team.role", "acme/devs", "reader as maintainer"),
        ("team.remove", "acme/devs", "reader"),
        ("team.delete", "acme/devs", ""),
        ("organization.remove", "acme", "reader"),
    ]
    owners = {row["owner"] for row in await services.audit.list(since=since)}
    assert owners == {"acme"}


async def test_what_is_done_to_projects_and_with_grants(world: World, who: Principal) -> None:
    await world.client().push_image("acme/app", "v1")
    world.clock.advance(1)
    since, services = world.clock(), world.services
    grant, url = services.accounts.grant, "https://git.example.com/acme/app"
    project_id = await services.projects.create(who, "acme/App", Visibility.PRIVATE)
    await services.projects.set_visibility(who, "acme/app", Visibility.INTERNAL)
    await services.projects.add_source(who, "acme/app", url)
    await services.projects.add_source(who, "acme/app", f"{url}.git")  # it is there
    await services.projects.remove_source(who, "acme/app", url)
    await services.projects.rename(who, "acme/app", "Gadget")
    await services.projects.robot(who, "acme/gadget")
    await services.projects.robot(who, "acme/gadget")  # it is there
    owner_id = (await services.accounts.get("acme")).id
    package_id = (await services.packages.get("acme/app"))["id"]
    for kind, resource_id in ((OWNER, owner_id), (PROJECT, project_id), (PACKAGE, package_id)):
        await grant(who, kind, resource_id, "stranger", Role.WRITE)
        await grant(who, kind, resource_id, "stranger", Role.NONE)
        await grant(who, kind, resource_id, "stranger", Role.NONE)  # it is gone
    assert await told(world, who, since) == [
        ("project.create", "acme/App", "private"),
        ("project.visibility", "acme/App", "internal"),
        ("project.source.add", "acme/App", "git.example.com/acme/app"),
        ("project.source.remove", "acme/App", "git.example.com/acme/app"),
        ("project.rename", "acme/App", "Gadget"),
        ("robot.create", "acme+gadget", "acme/Gadget"),
        ("grant", "acme", "write to stranger"),
        ("grant.remove", "acme", "write of stranger"),
        ("grant", "acme/Gadget", "write to stranger"),
        ("grant.remove", "acme/Gadget", "write of stranger"),
        ("grant", "acme/app", "write to stranger"),
        ("grant.remove", "acme/app", "write of stranger"),
    ]
    owners = {row["owner"] for row in await services.audit.list(since=since)}
    assert owners == {"acme"}


async def test_what_is_done_with_packages(world: World, who: Principal) -> None:
    services, repository = world.services, parse_repository("acme/app")
    renaming = Renaming(services.database, world.clock)
    for tag in ("v1", "v2"):
        image = await world.client().push_image("acme/app", tag, tag.encode())
    await services.accounts.create_organization(OPERATOR, "beta")
    project_id = await services.projects.create(OPERATOR, "acme/one", Visibility.PRIVATE)
    world.clock.advance(1)
    since = world.clock()
    await services.packages.set_visibility(who, "acme/app", Visibility.PUBLIC)
    await services.packages.link(who, "acme/app", project_id)
    await services.packages.unlink(who, "acme/app")
    await services.deletion.delete_tag(who, repository, parse_tag("v1"))
    await services.deletion.delete_manifest(who, repository, image.digest)
    deleted = await services.packages.delete(who, "acme/app")
    listed = await services.restoration.list("acme/app")
    assert [deletion.deleted_by for deletion in listed] == ["owner"] * 3
    await services.restoration.restore(who, "acme/app", deleted.id)
    for deletion in await services.restoration.list("acme/app"):
        await services.restoration.purge(who, "acme/app", deletion.id)
    await renaming.rename(who, "acme/app", "acme/server")
    await renaming.transfer(who, "acme/server", "beta")
    await renaming.release(who, "acme/app")
    assert await told(world, who, since) == [
        ("package.visibility", "acme/app", "public"),
        ("package.link", "acme/app", "one"),
        ("package.unlink", "acme/app", "one"),
        ("tag.delete", "acme/app", "v1"),
        ("manifest.delete", "acme/app", image.digest),
        ("package.delete", "acme/app", ""),
        ("deletion.restore", "acme/app", ""),
        ("deletion.purge", "acme/app", ""),
        ("deletion.purge", "acme/app", ""),
        ("package.rename", "acme/app", "acme/server"),
        ("package.transfer", "acme/server", "beta/server"),
        ("package.transfer", "acme/server", "beta/server"),
        ("package.release", "beta/server", "acme/app"),
    ]
    events = await world.rows(
        f"select account_id, token_id, kind from events where created_at >= {since} order by id"
    )
    assert {(row["account_id"], row["token_id"]) for row in events} == {
        (who.account_id, who.token_id)
    }


async def test_what_is_done_with_tokens(world: World, who: Principal) -> None:
    since, tokens = world.clock(), world.services.tokens
    made = await tokens.create(who, who.account_id, "user", "", Scope.READ, None)
    await tokens.revoke(who, made.id)
    assert await told(world, who, since) == [
        ("token.create", "owner", f"token {made.id} (user)"),
        ("token.revoke", "owner", f"token {made.id} (user)"),
    ]


async def test_a_token_made_with_a_password_names_who_signed_in(world: World) -> None:
    world.clock.advance(1)
    account, tokens = await world.services.accounts.get("reader"), world.services.tokens
    who = Principal(account.id, "reader", "user", password_version=account.password_version)
    made = await tokens.derive(who, NewToken(account.id, "user"))
    (line,) = await world.services.audit.list(since=world.clock())
    assert (line["account"], line["token_id"]) == ("reader", None)
    assert (line["kind"], line["detail"]) == ("token.create", f"token {made.id} (user)")


async def test_a_refresh_token_that_was_used_again_is_told_of_whose_it_is(world: World) -> None:
    stolen = (await sign_in(world, "reader"))["refresh_token"]
    await refresh(world, stolen)
    world.clock.advance(3600)
    since = world.clock()
    assert (await refresh(world, stolen)).status_code == 401
    (line,) = await world.services.audit.list(since=since)
    (row,) = await world.rows("select id from tokens where kind = 'refresh'")
    assert (line["account"], line["token_id"], line["owner"]) == ("reader", row["id"], "reader")
    assert (line["kind"], line["address"]) == ("token.revoke", "127.0.0.1")
    assert line["detail"] == f"token {row['id']} (refresh) was used again"


async def test_a_change_that_is_refused_is_no_line(world: World, who: Principal) -> None:
    since, services = world.clock(), world.services
    with pytest.raises(Conflict):
        await services.accounts.create_user(who, "reader", None)
    with pytest.raises(Conflict):
        await services.accounts.create_organization(who, "acme")
    with pytest.raises(NotFound):
        await services.accounts.grant(who, PROJECT, 10**9, "reader", Role.WRITE)
    with pytest.raises(NotFound):
        await services.accounts.set_default_visibility(who, "nobody", Visibility.PUBLIC)
    with pytest.raises(NotFound):
        await services.tokens.revoke(who, 10**9)
    await services.projects.create(OPERATOR, "acme/one", Visibility.PRIVATE)
    await services.teams.create(OPERATOR, "acme/devs")
    for refused in (
        services.projects.create(who, "acme/One", Visibility.PUBLIC),
        services.teams.create(who, "acme/devs"),
        services.teams.remove(who, "acme/devs", "reader"),
        services.projects.remove_source(who, "acme/one", "https://git.example.com/x"),
    ):
        with pytest.raises((Conflict, NotFound)):
            await refused
    lines = [row["kind"] for row in await services.audit.list(since=since) if row["account"]]
    assert lines == []


def test_the_operator_is_not_nobody() -> None:
    assert (OPERATOR.operator, OPERATOR.anonymous) == (True, False)
    assert (ANONYMOUS.operator, ANONYMOUS.anonymous) == (False, True)


async def test_a_user_of_that_name_is_not_the_operator(world: World) -> None:
    await world.services.accounts.create_user(OPERATOR, "operator", "a long password")
    text = await world.mint("operator")
    who = await world.services.authenticator.sign_in("operator", text)
    again = await world.services.authenticator.sign_in("operator", "a long password")
    assert (who.operator, again.operator) == (False, False)


def test_no_module_that_reads_a_request_makes_the_operator() -> None:
    """Only commands and background work, which no request reaches, know who has the database."""
    knowing = {
        str(path.relative_to(ROOT))
        for room in ("storage", "auth", "registry", "formats")
        for path in (ROOT / room).rglob("*.py")
        if "OPERATOR" in path.read_text() or '"operator"' in path.read_text()
    }
    assert {name for name in knowing if not name.endswith("_commands.py")} == {
        "auth/audit.py",
        "auth/principals.py",
        "registry/running.py",
        "registry/sweep.py",
    }


def test_the_document_lists_every_kind_of_line() -> None:
    first, second = (_rows(table) for table in DOCUMENT.split("| did | ")[1:])
    assert _words(first) == set(_kinds_in_the_code())
    assert _words(second) == {"sign-in", "pull", "push", "delete", "api"}


def _rows(table: str) -> list[str]:
    return [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]


def _words(cells: Iterable[str]) -> set[str]:
    return {word for cell in cells for word in re.findall(r"`([a-z.-]+)`", cell)}


_WRITERS = {"note", "_note", "record", "record_change", "record_event", "event", "_move"}


def _kinds_in_the_code() -> Iterable[str]:
    """Find what is handed to the functions that write lines, as it is or by a name nearby."""
    for path in [*(ROOT / "auth").rglob("*.py"), *(ROOT / "registry").rglob("*.py")]:
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _kinds_of(function)


def _kinds_of(function: ast.AST) -> Iterable[str]:
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    writing = [call for call in calls if _called(call) in _WRITERS]
    named = {arg.id for call in writing for arg in call.args if isinstance(arg, ast.Name)}
    values = [arg for call in writing for arg in call.args]
    values += [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and named & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    ]
    for value in values:
        for node in ast.walk(value):
            if isinstance(node, ast.Constant) and re.fullmatch(_KIND, str(node.value)):
                yield str(node.value)


_KIND = r"grant|[a-z]+(\.[a-z-]+)+"


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
