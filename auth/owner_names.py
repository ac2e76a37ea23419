"""Names of owners: which are taken, which are kept for who had them, and that they stay put.

A transaction that writes a name made of an owner's (a package, a team, a robot) asks at its end
whether that name still holds. Its new row refers to the owner, so from then on whoever renames the
owner waits for it, and finds the row.
"""

from storage.database import Transaction
from storage.errors import Conflict

INSERT_ACCOUNT = """
insert into accounts (kind, name, is_admin, password_hash, created_at)
values ($1, $2, $3, $4, $5) on conflict (name) do nothing returning id
"""
DELETE_ACCOUNT = "delete from accounts where id = $1"
FIND_KEPT = "select account_id from owner_aliases where name = $1"
FIND_NAME = "select name from accounts where id = $1"


async def insert_account(
    tx: Transaction, kind: str, name: str, password_hash: str | None, at: int, *, admin: bool
) -> int | None:
    """Insert a user or an organization; None if the name is taken, or kept for who had it."""
    row = await tx.fetch_one(INSERT_ACCOUNT, kind, name, int(admin), password_hash, at)
    if row is None:
        return None
    account_id: int = row["id"]
    # Asked after the insert, which waited for whoever was giving the name up.
    if await tx.fetch_one(FIND_KEPT, name) is not None:
        await tx.execute(DELETE_ACCOUNT, account_id)
        return None
    return account_id


async def name_of(tx: Transaction, owner_id: int) -> str:
    """Return an owner's name as of now."""
    row = await tx.fetch_one(FIND_NAME, owner_id)
    if row is None:
        raise RuntimeError("an owner's row has gone, which nothing removes")
    name: str = row["name"]
    return name


async def require_name(tx: Transaction, owner_id: int, name: str) -> None:
    """Raises Conflict for an owner that was renamed since its name was read."""
    now = await name_of(tx, owner_id)
    if now != name:
        raise Conflict(f"{name} was renamed to {now} a moment ago: use that name")
