"""Memberships that follow the groups of an identity: given at a sign-in, and taken away at one.

Only a membership that an identity gave is ever taken away again; one that somebody gave stays. Who
is in a team is a member of its organization, so that comes and goes along.
"""

import json
from collections.abc import Iterable, Sequence

from auth.accounts import LOCK_ACCOUNT, Account
from auth.audit import note
from auth.principals import Principal
from storage.database import Row, Transaction

FIND_TEAMS = """
select t.id, t.name, t.owner_id, o.name as owner
from accounts t join accounts o on o.id = t.owner_id
where t.kind = 'team' and t.name in (select value from json_each(cast($1 as text)))
"""
LIST_MAPPED = """
select g.id, g.kind, g.name, g.owner_id
from members m join accounts g on g.id = m.group_id
where m.user_id = $1 and m.identity_id = $2
"""
LIST_MEMBERSHIPS = "select group_id from members where user_id = $1"
INSERT_MAPPED = """
insert into members (user_id, group_id, role, identity_id) values ($1, $2, 1, $3)
on conflict (user_id, group_id) do nothing
"""
DELETE_MAPPED_TEAM = """
delete from members where user_id = $1 and group_id = $2 and identity_id = $3
"""
DELETE_MAPPED_ORGANIZATION = """
delete from members where user_id = $1 and group_id = $2 and identity_id = $3
  and not exists (select 1 from members x join accounts t on t.id = x.group_id
    where x.user_id = $1 and t.owner_id = $2 and t.kind = 'team')
"""
RELEASE_MAPPED = "update members set identity_id = null where user_id = $1 and identity_id = $2"


async def follow_groups(
    tx: Transaction, who: Principal, identity_id: int, teams: Sequence[str], at: int
) -> None:
    """Make somebody a member of the teams named, and of no other that this identity gave.

    A team that does not exist gives nothing.
    """
    wanted = await tx.fetch(FIND_TEAMS, json.dumps(teams)) if teams else []
    mapped = await tx.fetch(LIST_MAPPED, who.account_id, identity_id)
    rows = await tx.fetch(LIST_MEMBERSHIPS, who.account_id)
    member = {row["group_id"] for row in rows}
    groups = {row["id"] for row in wanted} | {row["owner_id"] for row in wanted}
    lost = [row for row in mapped if row["id"] not in groups]
    if not lost and groups <= member:
        return
    # In one order, and organizations first, as whoever adds a member takes them.
    there = await _lock(tx, [row["owner_id"] for row in (*wanted, *lost) if row["owner_id"]])
    there |= await _lock(tx, [row["id"] for row in (*wanted, *lost)])
    await _take(tx, who, who, identity_id, lost, at)
    for row in wanted:
        if {row["id"], row["owner_id"]} <= there:
            await _give(tx, who, identity_id, row, at)


async def forget_groups(
    tx: Transaction, who: Principal, account: Account, identity_id: int, at: int
) -> None:
    """Take away every membership that an identity gave."""
    mapped = await tx.fetch(LIST_MAPPED, account.id, identity_id)
    member = Principal(account.id, account.name, account.kind)
    await _take(tx, who, member, identity_id, mapped, at)
    await tx.execute(RELEASE_MAPPED, account.id, identity_id)


async def _lock(tx: Transaction, ids: Iterable[int]) -> set[int]:
    locked = [id_ for id_ in sorted(set(ids)) if await tx.fetch_one(LOCK_ACCOUNT, id_) is not None]
    return set(locked)


async def _give(tx: Transaction, who: Principal, identity_id: int, team: Row, at: int) -> None:
    said = f"{who.name} as member"
    for kind, group_id, name in (
        ("organization.add", team["owner_id"], team["owner"]),
        ("team.add", team["id"], team["name"]),
    ):
        if await tx.execute(INSERT_MAPPED, who.account_id, group_id, identity_id):
            await note(tx, who, kind, team["owner_id"], name, at, said)


async def _take(
    tx: Transaction,
    who: Principal,
    member: Principal,
    identity_id: int,
    lost: Sequence[Row],
    at: int,
) -> None:
    """Teams first: an organization keeps who is still in one of its teams."""
    for row in sorted(lost, key=lambda row: row["kind"] != "team"):
        team = row["kind"] == "team"
        statement = DELETE_MAPPED_TEAM if team else DELETE_MAPPED_ORGANIZATION
        if await tx.execute(statement, member.account_id, row["id"], identity_id):
            kind = "team.remove" if team else "organization.remove"
            owner_id = row["owner_id"] if team else row["id"]
            await note(tx, who, kind, owner_id, row["name"], at, member.name)
