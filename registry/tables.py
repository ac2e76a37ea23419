"""Rows on standard output: a table for a person, tabs for a script, or JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows that all have the same columns; nothing but `[]` in JSON when there are none."""
    if as_json:
        print(json.dumps(list(rows)))
        return
    if not rows:
        return
    texts = [[str(value) for value in row.values()] for row in rows]
    if sys.stdout.isatty():
        texts.insert(0, [name.upper() for name in rows[0]])
        widths = [max(len(text[i]) for text in texts) for i in range(len(texts[0]))]
        texts = [[text[i].ljust(widths[i]) for i in range(len(text))] for text in texts]
    for text in texts:
        print("  ".join(text).rstrip() if sys.stdout.isatty() else "\t".join(text))
