"""What one may pull, and every list, over any rows: all agree with a plain model."""

import os
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth.accounts import OWNER, PACKAGE, PROJECT
from auth.audit import OPERATOR
from auth.principals import Action, Principal, Scope, Visibility
from auth.tokens import INSERT_LIMIT
from registry.package_lists import Filters, PackageLists
from registry.search import Question, Search
from registry.search_terms import write_terms
from storage.database import Transaction
from storage.errors import NotFound, Unauthenticated
from storage.names import parse_repository
from tests.registry.world import World

EXAMPLES = 400 if os.environ.get("SOAK") else 20
OWNERS = ("north", "south")
PROJECTS = tuple(f"{owner}/app" for owner in OWNERS)
PACKAGES = tuple(f"{owner}/part-{name}" for owner in OWNERS for name in ("one", "two"))
TEAMS = ("north/a", "south/b")
QUESTIONS: dict[str, list[tuple[str, ...]]] = {
    "a word": [("one",), ("two",)],
    "two words": [(f"{owner} {name}",) for owner in OWNERS for name in ("one", "two")],
    "a word of all": [("part",)],
    "an owner": [(name, owner) for owner in OWNERS for name in ("one", "two")],
}
"""Searches that together find every package: words, and an owner."""
PEOPLE = ("ann", "ben", "north+app", "south+app", "root", "")
"""Two users, the robots of both projects, the site's administrator, and nobody."""
GROUPS = (*TEAMS, *(name for name in PEOPLE if name))
LIMITED = ("ann", "south+app", "root")
"""Who comes with a token that may have limits, too."""

INSERT_TEAM = "insert into accounts (kind, name, owner_id, created_at) values ('team', $1, $2, 1)"
INSERT_MEMBER = "insert into members (user_id, group_id) values ($1, $2)"
INSERT_GRANT = """
insert into grants (resource_kind, resource_id, grantee_id, role, created_at)
values ($1, $2, $3, $4, 1)
"""
SET_LAYERS = "update tokens set limit_layers = $2 where id = $1"
SET_PACKAGE = "update packages set project_id = $2, visibility = $3, deleted_at = $4 where id = $1"


@dataclass(frozen=True, slots=True)
class Holding:
    """A package as the model sees it."""

    linked: bool
    visibility: Visibility
    deleted: bool


@dataclass(frozen=True, slots=True)
class State:
    """Any rows: who is in which team, who has which role on what, and what the packages are."""

    members: frozenset[tuple[str, str]]
    grants: dict[tuple[int, str, str], int]
    packages: tuple[Holding, ...]
    limits: frozenset[tuple[int, str]] = frozenset()

    def sees(self, who: str, package: str, *, by_token: bool = False) -> bool:
        """Say it once more, in Python: whether somebody may pull a package."""
        held = self.packages[PACKAGES.index(package)]
        owner = package.partition("/")[0]
        if held.deleted:
            return False
        if held.visibility is Visibility.PUBLIC:
            return True
        if by_token and self.limits and self.limits.isdisjoint(self.around(package)):
            return False
        if who == "root":
            return True
        at_home = who in ("ann", "ben") or who.startswith(f"{owner}+")
        if held.visibility is Visibility.INTERNAL and at_home:
            return True
        return self.has_role(who, self.around(package))

    def around(self, package: str) -> set[tuple[int, str]]:
        """What a role, or a limit, may be on to count for a package."""
        owner = package.partition("/")[0]
        linked = self.packages[PACKAGES.index(package)].linked
        on = {(OWNER, owner), (PACKAGE, package)}
        return on | ({(PROJECT, f"{owner}/app")} if linked else set())

    def has_role(self, who: str, on: set[tuple[int, str]]) -> bool:
        groups = {who} | {team for user, team in self.members if user == who}
        return any(self.grants.get((*resource, group), 0) for resource in on for group in groups)

    def knows(self, who: str, project: str) -> bool:
        """Whether somebody sees a project itself, which is private."""
        on = {(OWNER, project.partition("/")[0]), (PROJECT, project)}
        return who == "root" or self.has_role(who, on)


@dataclass(frozen=True, slots=True)
class Universe:
    """The accounts and resources of every example, by name."""

    world: World
    people: dict[str, Principal]
    resources: dict[tuple[int, str], int]
    tokens: dict[str, Principal]

    async def become(self, state: State) -> None:
        """Put the rows of an example in the place of the last one's."""
        groups = {name: self.people[name].account_id for name in GROUPS}

        async def work(tx: Transaction) -> None:
            for group in groups.values():
                await tx.execute("delete from grants where grantee_id = $1", group)
                await tx.execute("delete from members where user_id = $1", group)
                await tx.execute(INSERT_MEMBER, group, group)
            for user, team in state.members:
                await tx.execute(INSERT_MEMBER, groups[user], groups[team])
            for (kind, name, group), role in state.grants.items():
                resource_id = self.resources[kind, name]
                await tx.execute(INSERT_GRANT, kind, resource_id, groups[group], role)
            for name, held in zip(PACKAGES, state.packages, strict=True):
                project = self.resources[PROJECT, f"{name.partition('/')[0]}/app"]
                await tx.execute(
                    SET_PACKAGE,
                    self.resources[PACKAGE, name],
                    project if held.linked else None,
                    int(held.visibility),
                    1 if held.deleted else None,
                )
                await write_terms(tx, self.resources[PACKAGE, name])
            for who in self.tokens.values():
                await tx.execute("delete from token_limits where token_id = $1", who.token_id)
                await tx.execute(SET_LAYERS, who.token_id, 1 if state.limits else 0)
                for resource in state.limits:
                    await tx.execute(
                        INSERT_LIMIT, who.token_id, 1, resource[0], self.resources[resource]
                    )

        await self.world.services.database.write(work)

    async def may_pull(self, who: Principal, package: str) -> bool:
        """Ask what decides; who may write finds an empty repository where one was deleted."""
        permissions = self.world.services.permissions
        try:
            access = await permissions.require(who, Action.PULL, parse_repository(package))
        except (NotFound, Unauthenticated):
            return False
        return access.package_id is not None

    async def listed(self, who: Principal) -> list[str]:
        admin = await self.world.services.permissions.require_live(who)
        catalog, found, last = self.world.services.catalog, [], ""
        page = await catalog.repositories(who, 1, last, admin=admin)
        while page.items:
            found += page.items
            page = await catalog.repositories(who, 1, found[-1], admin=admin)
        return found

    async def lists(self, who: Principal) -> dict[str, set[str]]:
        """Every list that names packages, a page at a time, by what it is."""
        database, permissions = self.world.services.database, self.world.services.permissions
        lists = PackageLists(database, permissions)
        searches = {
            "rare": Search(database, permissions),
            "first of many": Search(database, permissions, rare=0, judged=1),
            "many": Search(database, permissions, rare=0, judged=0),
        }

        async def all_of(filters: Filters) -> set[str]:
            found: list[str] = []
            while page := await lists.list(who, filters, found[-1] if found else "", 1):
                found += [row["repository"] for row in page]
            return set(found)

        async def numbered(owner: str, *, most: bool) -> set[str]:
            ids, total = await lists.numbered(who, Filters(owner=owner), 0, 100, most=most)
            assert total == len(ids)
            return {name for name in PACKAGES if self.resources[PACKAGE, name] in ids}

        async def searched(search: Search, words: str, owner: str = "") -> set[str]:
            found, key = set(), ""
            while True:
                results = await search.find(who, Question(words, owner, "", None, key), 1)
                found |= {row["repository"] for row in results.rows}
                if results.next is None:
                    return found
                key = results.next

        return {
            "catalog": set(await self.listed(who)),
            "packages": await all_of(Filters()),
            "packages of owners": set().union(*[await all_of(Filters(owner=o)) for o in OWNERS]),
            "numbered": set().union(*[await numbered(o, most=False) for o in OWNERS]),
            "numbered in order": set().union(*[await numbered(o, most=True) for o in OWNERS]),
            **{
                f"search of {what}, {how}": set().union(
                    *[await searched(search, *said) for said in asked]
                )
                for how, search in searches.items()
                for what, asked in QUESTIONS.items()
            },
            **{project: await all_of(Filters(project=project)) for project in PROJECTS},
        }


@pytest.fixture
async def universe(world: World) -> Universe:
    """Two owners, with a project, two packages and a team each, and those who ask."""
    accounts, projects = world.services.accounts, world.services.projects
    resources = {}
    for owner in OWNERS:
        resources[OWNER, owner] = await accounts.create_organization(OPERATOR, owner)
        resources[PROJECT, f"{owner}/app"] = await projects.create(
            OPERATOR, f"{owner}/app", Visibility.PRIVATE
        )
        await projects.robot(OPERATOR, f"{owner}/app")
    for name in ("ann", "ben", "root"):
        await accounts.create_user(OPERATOR, name, None, admin=name == "root")
    for team in TEAMS:
        await world.services.database.execute(
            INSERT_TEAM, team, resources[OWNER, team.partition("/")[0]]
        )
    for package in PACKAGES:
        await world.client("admin").push_image(package, "v1")
        resources[PACKAGE, package] = (await world.services.packages.get(package))["id"]
    people = {"": Principal()}
    for name in GROUPS:
        account = await accounts.get(name)
        people[name] = Principal(account.id, name, account.kind)
    tokens = {}
    for name in LIMITED:
        who = people[name]
        made = await world.services.tokens.create(
            OPERATOR, who.account_id, "user", "", Scope.ALL, None
        )
        tokens[name] = replace(who, token_id=made.id)
    return Universe(world, people, resources, tokens)


resources = st.sampled_from(
    [
        *((OWNER, name) for name in OWNERS),
        *((PROJECT, name) for name in PROJECTS),
        *((PACKAGE, name) for name in PACKAGES),
    ]
)
grants = st.tuples(resources, st.sampled_from(GROUPS)).map(lambda pair: (*pair[0], pair[1]))
memberships = st.tuples(st.sampled_from(("ann", "ben")), st.sampled_from(TEAMS))
holdings = st.builds(Holding, st.booleans(), st.sampled_from(Visibility), st.booleans())
states = st.builds(
    State,
    members=st.frozensets(memberships),
    grants=st.dictionaries(grants, st.integers(0, 3), max_size=8),
    packages=st.tuples(*[holdings] * len(PACKAGES)),
    limits=st.frozensets(resources, max_size=3),
)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=states)
async def test_who_may_pull_is_shown_and_nobody_else(universe: Universe, state: State) -> None:
    await universe.become(state)
    for name in PEOPLE:
        await compare(universe, state, name, universe.people[name])
    for name in LIMITED:
        await compare(universe, state, name, universe.tokens[name])


async def compare(universe: Universe, state: State, name: str, who: Principal) -> None:
    by_token = who.token_id != 0
    seen = {package for package in PACKAGES if state.sees(name, package, by_token=by_token)}
    pulled = {package for package in PACKAGES if await universe.may_pull(who, package)}
    assert pulled == seen, name
    for what, listed in (await universe.lists(who)).items():
        expected = seen
        if what in PROJECTS:
            linked = {p for p in PACKAGES if state.around(p) & {(PROJECT, what)}}
            expected = seen & linked if state.knows(name, what) else set()
        assert listed & set(PACKAGES) == expected, (name, by_token, what)
