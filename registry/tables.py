"""Answers on standard output: a table for a person, tab-separated records for a script, or JSON.

Whatever a client may have named (a token, a tag) is shown without the characters that would end a
field, or that a terminal would obey. A table is never cut short: what is too wide is folded.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

JSON_HELP = "print one JSON document"


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows that all have the same columns; nothing but `[]` in JSON when there are none."""
    if as_json:
        print_document(list(rows))
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        print_records(rows)


def print_records(rows: Sequence[Mapping[str, Any]], kind: str | None = None) -> None:
    """Print one line a row, its values separated by tabs; `kind` tells rows of one kind apart."""
    for row in rows:
        values = [plain(value) for value in row.values()]
        print("\t".join(values if kind is None else [kind, *values]))


def print_document(document: Any) -> None:
    """Print what `--json` promises of every command: one JSON document, on one line."""
    print(json.dumps(document))


def plain(value: Any) -> str:
    """Render a value as text of one field: nothing in it ends the field or moves the cursor."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    # Here: what has no terminal has no use for it, and it is large.
    from rich import console, table, text  # noqa: PLC0415

    shown = table.Table(box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        number = isinstance(value, int) and not isinstance(value, bool)
        heading = text.Text(name.upper().replace("_", " "))
        shown.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(text.Text(plain(value)) for value in row.values()))
    console.Console(file=sys.stdout).print(shown)
