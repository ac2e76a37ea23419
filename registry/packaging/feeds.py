"""What nobody who is signed in gets from a feed, an owner's packages of one format.

A feed with a public package is open: what the anonymous may not see is unknown there, as clients
that ask several feeds for every name need it. Any other, and an owner's that does not exist, asks
for credentials, whatever the name: so neither says which names there are.
"""

from auth.errors import NameUnknown, NotSignedIn
from storage.database import Database
from storage.errors import PackhouseError
from storage.names import RepositoryName

FIND_OPEN = """
select p.id from packages p
where p.owner_id = coalesce(
    (select a.id from accounts a where a.name = $1 and a.kind in ('user', 'organization')),
    (select x.account_id from owner_aliases x where x.name = $1))
  and p.format = $2 and p.visibility = 2 and p.deleted_at is null limit 1
"""


class Feeds:
    """Knows which feeds are open."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refusal(self, repository: RepositoryName) -> PackhouseError:
        """Return the answer to the anonymous who asked for what is not public, or not there."""
        owner, word = repository.owner, repository.rest[0]
        if await self._database.fetch_one(FIND_OPEN, owner, word) is not None:
            return NameUnknown(f"{repository} is not known, or you may not see it")
        return NotSignedIn(f"sign in with a token to see the {word} packages of {owner}")
