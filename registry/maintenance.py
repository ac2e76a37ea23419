"""Commands about what goes and what stays: gc, why, and packages deleted, restored and purged."""

import argparse
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from auth.principals import Principal
from registry.app import Services
from registry.background import LEASE_SECONDS, summary
from registry.explain import Explainer, Fact
from registry.gc import LEASE
from registry.leases import LeaseLost, Term
from registry.preview import Preview
from registry.progress import Progress
from registry.restoration import ListedDeletion, Restored
from registry.tables import plain, print_document, print_records, print_rows
from storage.clock import rfc3339
from storage.digest import Digest
from storage.errors import Conflict, PackhouseError, Unavailable
from storage.names import parse_repository, parse_tag


def add_gc(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add `gc` and `why`."""
    gc = groups.add_parser("gc", parents=[common], help="remove what nobody needs, now")
    gc.add_argument("--dry-run", action="store_true", help="say what would go and why")
    gc.add_argument("--json", action="store_true", help="print one JSON document")
    gc.set_defaults(command=collect)
    why = groups.add_parser("why", parents=[common], help="say who holds a blob or manifest")
    why.add_argument("subject", metavar="DIGEST", help="a digest, or the key of an object")
    why.add_argument("--json", action="store_true", help="print one JSON document")
    why.set_defaults(command=explain)


def add_deletions(package: Any, common: argparse.ArgumentParser) -> None:
    """Add the actions of `package` that delete and restore."""
    delete = package.add_parser("delete", parents=[common], help="hide it, or a part of it")
    purge = package.add_parser("purge", parents=[common], help="end what can still be restored")
    restore = package.add_parser("restore", parents=[common], help="undo a deletion")
    listing = package.add_parser("deletions", parents=[common], help="list what can be restored")
    for action in (delete, restore, purge, listing):
        action.add_argument("repository", metavar="OWNER/NAME")
    for action in (delete, restore, purge):
        action.add_argument("--by", metavar="USER", default="admin", help="who does it")
    part = delete.add_mutually_exclusive_group()
    part.add_argument("--digest", help="one manifest, with its children and referrers")
    part.add_argument("--tag", help="one tag, and nothing else")
    number = "its number in 'package deletions'"
    restore.add_argument("--deletion", type=int, help=f"{number} (default: the package's own)")
    purge.add_argument("--deletion", type=int, help=f"{number} (default: all of a deleted package)")
    delete.set_defaults(command=package_delete)
    restore.set_defaults(command=package_restore)
    purge.set_defaults(command=package_purge)
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    listing.set_defaults(command=package_deletions)


async def collect(services: Services, options: argparse.Namespace) -> None:
    """Run garbage collection to its end, taking the lease from the server's worker."""
    if options.dry_run:
        preview = Preview(
            services.database, services.store, services.collector.retention, services.clock
        )
        rows = [asdict(removal) async for removal in preview.removals()]
        print_rows(rows, as_json=options.json)
        return
    term = await services.leases.acquire(LEASE, LEASE_SECONDS, steal=True)
    if term is None:
        raise Unavailable("the lease of garbage collection could not be taken")
    try:
        removed = await collect_all(services, term)
    finally:
        # Interrupted too: a server would wait for the rest of our term. If the database is gone,
        # the term runs out by itself.
        with suppress(PackhouseError):
            await term.release()
    if options.json:
        print_document({"removed": dict(removed)})


async def collect_all(services: Services, term: Term) -> Counter[str]:
    """Do rounds until nothing is due; return what they removed. Raises Conflict."""
    removed: Counter[str] = Counter()
    finished = False
    with Progress("gc", None, sys.stderr) as progress:
        while not finished:
            try:
                done = await services.collector.round(term)
            except LeaseLost as error:
                raise Conflict("another 'packhouse gc' has taken over, and goes on") from error
            removed, finished = removed + done.removed, done.finished
            if any(done.removed.values()):
                progress.say(f"gc removed {summary(done.removed)}")
    return removed


async def explain(services: Services, options: argparse.Namespace) -> int:
    """Say what holds a digest; the status is 1 when nothing does."""
    explainer = Explainer(services.database, services.collector.retention)
    found = await explainer.why(options.subject)
    facts = [_fact(fact) for fact in found.facts]
    if options.json:
        print_document({"subject": found.subject, "facts": facts})
    elif sys.stdout.isatty():
        print("\n".join([found.subject, *(f"  {plain(fact.text)}" for fact in found.facts)]))
    else:
        print_records(facts)
    if not facts:
        print(f"packhouse: nothing here knows {found.subject}", file=sys.stderr)
    return 0 if facts else 1


async def package_delete(services: Services, options: argparse.Namespace) -> None:
    """Hide a package, one of its manifests or one of its tags."""
    name = parse_repository(options.repository)
    who = await _by(services, options)
    await services.packages.get(options.repository)
    undo = f"packhouse package restore {name}"
    if options.digest is not None:
        await services.deletion.delete_manifest(who, name, Digest.parse(options.digest))
    elif options.tag is not None:
        await services.deletion.delete_tag(who, name, parse_tag(options.tag))
    else:
        await _delete_all(services, who, options.repository)
        print(f"undo it with: {undo}", file=sys.stderr)
        return
    print(
        f"undo it with: {undo} --deletion N (the last of 'packhouse package deletions {name}')",
        file=sys.stderr,
    )


async def _delete_all(services: Services, who: Principal, name: str) -> None:
    with Progress("delete", None, sys.stderr):
        done = await services.packages.delete(who, name)
    print(
        f"{name} deleted: {done.manifests} manifests, {done.tags} tags (deletion {done.id})",
        file=sys.stderr,
    )
    if not done.complete:
        raise Conflict(f"{name} was pushed to meanwhile, and is back with what was left")


async def package_restore(services: Services, options: argparse.Namespace) -> int:
    """Undo a deletion; the status is 1 when a tag could not come back."""
    who, deletion_id = await _by(services, options), options.deletion
    if deletion_id is None:
        deletion_id = (await services.packages.get(options.repository))["deletion_id"]
        if deletion_id is None:
            raise Conflict(
                f"{options.repository} is not deleted as a whole: choose one of "
                f"'packhouse package deletions {options.repository}' with --deletion"
            )
    with Progress("restore", None, sys.stderr):
        restored = await services.restoration.restore(who, options.repository, deletion_id)
    _print_restored(restored)
    return 1 if restored.conflicts else 0


async def package_purge(services: Services, options: argparse.Namespace) -> None:
    """End what can still be restored: of one deletion, or of a deleted package."""
    who, restoration, count = await _by(services, options), services.restoration, 1
    listed = await _list_deletions(services, options.repository)
    if options.deletion is not None:
        listed = [found for found in listed if found.id == options.deletion]
    total = sum(found.manifests for found in listed)
    with Progress("purge", total, sys.stderr, "manifests") as progress:
        if options.deletion is None:
            count = await restoration.purge_package(who, options.repository, progress.advance)
        else:
            await restoration.purge(who, options.repository, options.deletion, progress.advance)
    print(f"{count} deletions purged: gc removes what they held", file=sys.stderr)


async def package_deletions(services: Services, options: argparse.Namespace) -> None:
    """List the deletions of a package, oldest first."""
    listed = await _list_deletions(services, options.repository)
    print_rows([_deletion(found) for found in listed], as_json=options.json)


async def _by(services: Services, options: argparse.Namespace) -> Principal:
    """Return who `--by` says it is."""
    account = await services.accounts.get(options.by, "user")
    return Principal(account.id, account.name, account.kind)


async def _list_deletions(services: Services, repository: str) -> list[ListedDeletion]:
    found: list[ListedDeletion] = []
    while page := await services.restoration.list(repository, found[-1].id if found else 0):
        found += page
    return found


def _deletion(listed: ListedDeletion) -> dict[str, Any]:
    until = listed.restorable_until
    return {
        "deletion": listed.id,
        "what": listed.reason,
        "by": listed.deleted_by or "",
        "deleted": "" if until is None else rfc3339(listed.deleted_at),
        "restorable_until": "purged" if until is None else rfc3339(until),
        "manifests": listed.manifests,
        "tags": listed.tags,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    until = None if fact.until is None else rfc3339(fact.until)
    return {**asdict(fact), "until": until}


def _print_restored(restored: Restored) -> None:
    print(f"{restored.manifests} manifests and {restored.tags} tags restored", file=sys.stderr)
    for tag, reason in restored.conflicts.items():
        print(f"tag {tag} was left alone: {reason}", file=sys.stderr)
