"""Who may be given a role: those whom the giver may see.

That is any user; a team to who belongs to its organization or has a role on it; a robot to who sees
its project. To anybody else teams and projects that are hidden are as if they were not there.
"""

from auth.accounts import OWNER, PROJECT
from auth.permissions import HELD, PROJECT_OPEN, covered, on
from auth.principals import Principal
from storage.database import Database, Row
from storage.errors import NotFound

_TEAM_SEEN = f"""
({covered("o.id", "null", "null")} and (u.is_admin = 1
  or exists (select 1 from members b where b.user_id = $1 and b.group_id = o.id)
  or exists (select 1 from members m cross join grants g where {HELD} and {on(OWNER, "o.id")})))
"""
_ROBOT_SEEN = f"""
(r.visibility = 2 or ({covered("o.id", "r.id", "null")} and (u.is_admin = 1 or {PROJECT_OPEN}
  or exists (select 1 from members m cross join grants g where {HELD} and (
    {on(OWNER, "o.id")} or {on(PROJECT, "r.id")})))))
"""
FIND_GRANTEE = f"""
select a.name, a.kind from accounts a
  left join accounts o on o.id = a.owner_id
  left join projects r on a.kind = 'robot' and r.owner_id = o.id and r.deleted_at is null
    and r.folded_name = substr(a.name, length(o.name) + 2)
  left join accounts u on u.id = $1
  left join tokens k on k.id = $2
where a.name = $3 and (a.kind = 'user' or (a.kind in ('team', 'robot') and (
  cast($4 as smallint) = 1 or (a.kind = 'team' and {_TEAM_SEEN})
  or (a.kind = 'robot' and {_ROBOT_SEEN}))))
"""


class Grantees:
    """Finds them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, who: Principal, name: str) -> Row:
        """Return name and kind of a user, team or robot that `who` may see. Raises NotFound."""
        asked = (who.account_id, who.token_id, name, int(who.operator))
        row = await self._database.fetch_one(FIND_GRANTEE, *asked)
        if row is None:
            raise NotFound(f"there is no user, team or robot named {name!r}, or you may not see it")
        return row
