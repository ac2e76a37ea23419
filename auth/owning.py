"""What an owner never loses: a user his own namespace, an organization its last administrator."""

from auth.principals import Role
from storage.database import Transaction
from storage.errors import Conflict

FIND_OWNING = """
select g.role, a.kind from accounts a
  left join grants g on g.resource_kind = 1 and g.resource_id = a.id and g.grantee_id = $2
where a.id = $1
"""
FIND_OTHER_OWNER = """
select u.id from grants g join accounts u on u.id = g.grantee_id
where g.resource_kind = 1 and g.resource_id = $1 and g.role = 3 and u.kind = 'user'
  and u.disabled_at is null and u.id <> $2 limit 1
"""


async def keep_an_owner(tx: Transaction, owner_id: int, account_id: int, name: str) -> bool:
    """Refuse to take the role admin on an owner from the last who has it.

    Returns whether this account has it. The caller holds the owner's row, which orders those who
    take it from each other.
    Raises Conflict.
    """
    row = await tx.fetch_one(FIND_OWNING, owner_id, account_id)
    if row is None or row["role"] != Role.ADMIN:
        return False
    if owner_id == account_id:
        raise Conflict(f"{name!r} owns the namespace of its name: disable the user instead")
    if row["kind"] == "user" or await tx.fetch_one(FIND_OTHER_OWNER, owner_id, account_id):
        return True
    raise Conflict(
        f"{name!r} would have no owner: make another first, with 'packhouse org add "
        f"{name} USER --owner'"
    )
