"""The default alias of a package: it names the newest version whenever it would name nothing."""

from auth.principals import Principal
from registry.manifest_push import point
from registry.packaging.version_rows import FIND_TAG_NAMED, find_newest
from storage.database import Transaction


async def follow(
    tx: Transaction, who: Principal, package_id: int, alias: str, at: int
) -> str | None:
    """Point the default alias at the newest live version and return that; None if there is none."""
    newest = await find_newest(tx, package_id)
    if newest is None:
        return None
    await point(tx, who, package_id, alias, newest["manifest_id"], newest["content_id"], at)
    name: str = newest["name"]
    return name


async def follow_if_gone(
    tx: Transaction, who: Principal, package_id: int, alias: str, at: int
) -> None:
    """Do what `follow` does where the alias names nothing; "" is no alias."""
    if alias and await tx.fetch_one(FIND_TAG_NAMED, package_id, alias) is None:
        await follow(tx, who, package_id, alias, at)
