"""`packhouse key`: the keys that sign bearer tokens and upload ids."""

import argparse
import sys
from typing import Any

from auth.audit import OPERATOR
from auth.signing_keys import lifetime_seconds
from registry.app import Services
from registry.tables import print_rows
from storage.clock import rfc3339


def add_keys(groups: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    key = groups.add_parser("key", help="signing keys").add_subparsers(
        required=True, metavar="ACTION"
    )
    rotate = key.add_parser("rotate", parents=[common], help="sign with new keys")
    rotate.add_argument(
        "--end-old",
        action="store_true",
        help="the old ones end now, with all bearers and uploads under way: after a theft",
    )
    rotate.set_defaults(command=key_rotate)
    listing = key.add_parser("list", parents=[common], help="list keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="print one JSON document")
    listing.set_defaults(command=key_list)


async def key_rotate(services: Services, options: argparse.Namespace) -> None:
    """Sign with new keys; every worker does within seconds."""
    config = services.config
    keep = lifetime_seconds(config.bearer_seconds, config.upload_seconds)
    ends_at = await services.keys.rotate(OPERATOR, 0 if options.end_old else keep)
    when = "have ended" if options.end_old else f"verify until {rfc3339(ends_at)}"
    print(f"new keys sign; the old ones {when}", file=sys.stderr)


async def key_list(services: Services, options: argparse.Namespace) -> None:
    """List the keys."""
    rows = [
        {
            "id": row["kid"],
            "purpose": row["purpose"],
            "created": rfc3339(row["created_at"]),
            "ends": "" if row["retired_at"] is None else rfc3339(row["retired_at"]),
        }
        for row in await services.keys.rows()
    ]
    print_rows(rows, as_json=options.json)
