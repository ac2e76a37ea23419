"""The commands about packages, or parts of them, that are deleted, restored and purged."""

import argparse
import sys
from typing import Any

from registry.api.deletions import (
    DELETION,
    DELETIONS,
    PACKAGE_RESTORE,
    RESTORE,
    ListedPackageDeletion,
    RestoredContent,
)
from registry.api.packages import PACKAGE, DeletedPackage, Package
from registry.api.tags import TAG
from registry.api.versions import PLAN, VERSION, VERSION_RESTORE, DeletionPlan
from registry.api_client import Api, Refused, split_name
from registry.progress import Progress
from registry.tables import JSON_HELP, print_rows
from storage.errors import Conflict, Invalid, NotFound

_FORM = "OWNER/NAME"


def add_deletions(package: Any, asking: argparse.ArgumentParser) -> None:
    """Add the actions of `package` that delete and restore."""
    delete = package.add_parser("delete", parents=[asking], help="hide it, or a part of it")
    purge = package.add_parser(
        "purge", parents=[asking], help="end what can still be restored, and remove its bytes"
    )
    restore = package.add_parser("restore", parents=[asking], help="undo a deletion")
    listing = package.add_parser("deletions", parents=[asking], help="list what can be restored")
    for action in (delete, restore, purge, listing):
        action.add_argument("repository", metavar=_FORM)
    for action in (delete, restore, purge):
        action.add_argument(
            "--by", metavar="USER", help="who does it (default: admin; on a server: the token's)"
        )
    part = delete.add_mutually_exclusive_group()
    part.add_argument("--digest", help="one manifest, with its children and referrers")
    part.add_argument("--tag", help="one tag alone; the own tag of a version takes that along")
    delete.add_argument("--dry-run", action="store_true", help="say what --digest would delete")
    number = "its number in 'package deletions'"
    which = restore.add_mutually_exclusive_group()
    which.add_argument("--deletion", type=int, help=f"{number} (default: the package's own)")
    which.add_argument("--digest", help="the deletion that hid this version")
    purge.add_argument("--deletion", type=int, help=f"{number} (default: all of a deleted package)")
    delete.set_defaults(ask=package_delete)
    restore.set_defaults(ask=package_restore)
    purge.set_defaults(ask=package_purge)
    listing.add_argument("--json", action="store_true", help=JSON_HELP)
    listing.set_defaults(ask=package_deletions)


async def package_delete(api: Api, options: argparse.Namespace) -> None:
    """Hide a package, one of its manifests or one of its tags."""
    names = split_name(options.repository, _FORM)
    undo = f"packhouse package restore {options.repository}"
    if options.dry_run:
        await _plan(api, names, options)
        return
    if options.digest is not None:
        await api.tell("DELETE", VERSION, *names, options.digest)
    elif options.tag is not None:
        await api.tell("DELETE", TAG, *names, options.tag)
    else:
        await _delete_all(api, options.repository)
        print(f"undo it with: {undo}", file=sys.stderr)
        return
    print(
        f"undo it with: {undo} --deletion N "
        f"(the last of 'packhouse package deletions {options.repository}')",
        file=sys.stderr,
    )


async def _plan(api: Api, names: tuple[str, str], options: argparse.Namespace) -> None:
    if options.digest is None:
        raise Invalid("--dry-run says what --digest would delete: name one")
    plan = await api.get(DeletionPlan, PLAN, *names, options.digest)
    rows = [{"what": "manifest", "name": digest} for digest in plan.digests]
    print_rows([*rows, *({"what": "tag", "name": tag} for tag in plan.tags)], as_json=False)


async def _delete_all(api: Api, name: str) -> None:
    with Progress("delete", None, sys.stderr):
        done = await api.ask(DeletedPackage, "DELETE", PACKAGE, *split_name(name, _FORM))
    print(
        f"{name} deleted: {done.manifests} manifests, {done.tags} tags (deletion {done.deletion})",
        file=sys.stderr,
    )
    if not done.complete:
        raise Conflict(f"{name} was pushed to meanwhile, and is back with what was left")


async def package_restore(api: Api, options: argparse.Namespace) -> int:
    """Undo a deletion; the status is 1 when a tag could not come back."""
    names = split_name(options.repository, _FORM)
    template, more = PACKAGE_RESTORE, list[str]()
    if options.digest is not None:
        template, more = VERSION_RESTORE, [options.digest]
    elif options.deletion is not None:
        template, more = RESTORE, [str(options.deletion)]
    with Progress("restore", None, sys.stderr):
        restored = await api.ask(RestoredContent, "POST", template, *names, *more)
    print(f"{restored.manifests} manifests and {restored.tags} tags restored", file=sys.stderr)
    for tag, reason in restored.conflicts.items():
        print(f"tag {tag} was left alone: {reason}", file=sys.stderr)
    return 1 if restored.conflicts else 0


async def package_purge(api: Api, options: argparse.Namespace) -> None:
    """Remove for good what can still be restored: one deletion, or all of a deleted package."""
    names = split_name(options.repository, _FORM)
    listed = await api.all(ListedPackageDeletion, DELETIONS, *names)
    if options.deletion is None:
        await _require_deleted(api, options.repository)
    else:
        listed = [one for one in listed if one.id == options.deletion]
        if not listed:
            raise NotFound(
                f"{options.repository} has no deletion {options.deletion}: "
                f"see 'packhouse package deletions {options.repository}'"
            )
    total = sum(one.manifests for one in listed)
    with Progress("purge", total, sys.stderr, "manifests") as progress:
        for one in listed:
            await _purge(api, names, one.id)
            progress.advance(one.manifests)
    print(
        f"{len(listed)} deletions purged: no bytes are left that they alone held", file=sys.stderr
    )


async def _purge(api: Api, names: tuple[str, str], deletion_id: int) -> None:
    """Purge one that may be gone already, with the one before or by another hand."""
    try:
        await api.tell("DELETE", DELETION, *names, str(deletion_id))
    except Refused as error:
        if error.status != 404:
            raise


async def _require_deleted(api: Api, name: str) -> None:
    """Raises Conflict for a package that is there: what was deleted of it is named one by one."""
    try:
        await api.get(Package, PACKAGE, *split_name(name, _FORM))
    except Refused as error:
        if error.status != 404:
            raise
    else:
        raise Conflict(f"{name} is not deleted: 'packhouse package delete {name}' first")


async def package_deletions(api: Api, options: argparse.Namespace) -> None:
    """List the deletions of a package, oldest first."""
    names = split_name(options.repository, _FORM)
    listed = await api.all(ListedPackageDeletion, DELETIONS, *names)
    print_rows([_deletion(one) for one in listed], as_json=options.json)


def _deletion(listed: ListedPackageDeletion) -> dict[str, Any]:
    return {
        "deletion": listed.id,
        "what": listed.what,
        "by": listed.deleted_by or "",
        "deleted": listed.deleted_at or "",
        "restorable_until": listed.restorable_until or "purged",
        "manifests": listed.manifests,
        "tags": listed.tags,
    }
