"""Commands about what goes and what stays: gc and why."""

import argparse
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

from registry.api.cleaning import EXPLANATION, GARBAGE, DueList, Explanation, Holder
from registry.api_client import Api
from registry.app import Services
from registry.background import LEASE_SECONDS, summary
from registry.gc import LEASE
from registry.leases import LeaseLost, Term
from registry.progress import Progress
from registry.tables import plain, print_document, print_records, print_rows
from storage.errors import Conflict, PackhouseError, Unavailable


def add_gc(groups: Any, asking: argparse.ArgumentParser) -> None:
    """Add `gc` and `why`."""
    gc = groups.add_parser("gc", parents=[asking], help="remove what nobody needs, now")
    gc.add_argument(
        "--dry-run",
        dest="ask",
        action="store_const",
        const=preview,
        help="say what would go and why; on a server as well",
    )
    gc.add_argument("--json", action="store_true", help="print one JSON document")
    gc.set_defaults(command=collect)
    why = groups.add_parser("why", parents=[asking], help="say who holds a blob or manifest")
    why.add_argument("subject", metavar="DIGEST", help="a digest, or the key of an object")
    why.add_argument("--json", action="store_true", help="print one JSON document")
    why.set_defaults(ask=explain)


async def collect(services: Services, options: argparse.Namespace) -> None:
    """Run garbage collection to its end, taking the lease from the server's worker."""
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


async def preview(api: Api, options: argparse.Namespace) -> None:
    """Say what would go first, and why."""
    due = await api.get(DueList, GARBAGE, n=1000)
    rows = [
        {"kind": one.kind, "repository": one.package or "", "name": one.name, "why": one.why}
        for one in due.items
    ]
    print_rows(rows, as_json=options.json)
    if due.more:
        print(f"packhouse: and more than these {len(rows)}", file=sys.stderr)


async def explain(api: Api, options: argparse.Namespace) -> int:
    """Say what holds a digest; the status is 1 when nothing does."""
    found = await api.get(Explanation, EXPLANATION, options.subject)
    facts = [_fact(holder) for holder in found.holders]
    if options.json:
        print_document({"subject": found.subject, "facts": facts})
    elif sys.stdout.isatty():
        print("\n".join([found.subject, *(f"  {plain(fact['text'])}" for fact in facts)]))
    else:
        print_records(facts)
    if not facts:
        print(f"packhouse: nothing here knows {found.subject}", file=sys.stderr)
    return 0 if facts else 1


def _fact(holder: Holder) -> dict[str, Any]:
    return {
        "kind": holder.kind,
        "repository": holder.package or "",
        "name": holder.name,
        "text": holder.text,
        "until": holder.until,
    }
