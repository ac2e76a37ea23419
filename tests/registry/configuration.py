"""docs/configuration.md and config.example.yaml, as `make docs` writes them from Config's keys."""

import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from registry.config import ENVIRONMENT_PREFIX, Config

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
DOCUMENT = ROOT / "docs" / "configuration.md"

HEAD = """\
# Configuration

<!-- Written by `make docs` from registry/config.py: change a key there. -->

Every key has a default, and a server runs without any file. Later sources win: the file that
`--config FILE` or `PACKHOUSE_CONFIG` names, the environment, the options of a command (`--host`,
`--port`, `--data`, `--workers`, `--tls`). [config.example.yaml](../config.example.yaml) is a file
with every key to start from.

```yaml
host: [0.0.0.0, '::']
data: /var/lib/packhouse
public_url: https://packages.example.com
```

In the environment a key is written in capitals after `PACKHOUSE_`, and a list with commas:
`PACKHOUSE_HOST=0.0.0.0,::`. An unknown key or a bad value stops the start with one line and exit
status 2; `packhouse config check` says the same without starting. A change holds after a restart;
renewed certificate files are taken without one.
"""


def render_document() -> str:
    """Return the text of docs/configuration.md."""
    return "\n".join([HEAD, *(_section(key) for key in fields(Config))])


def render_example() -> str:
    """Return the text of config.example.yaml: its own head, and every key."""
    head = EXAMPLE.read_text().partition("\n\n")[0]
    return "\n\n".join([head, *(_block(key) for key in fields(Config))]) + "\n"


def _section(key: Any) -> str:
    default = _shown(key.default)
    plain = {"seconds": _duration, "bytes": _size}.get(key.metadata["unit"], lambda _: "")(
        key.default
    )
    lines = [
        f"## `{key.name}`\n\n{_wrapped(key.metadata['about'])}\n",
        f"- Unit: {key.metadata['unit']}",
        f"- Default: `{default}`{plain}",
        f"- Environment: `{ENVIRONMENT_PREFIX}{key.name.upper()}`",
    ]
    if accepted := _accepted(key):
        lines.append(_wrapped(f"- Accepts: {accepted}"))
    return "\n".join(lines) + "\n"


def _accepted(key: Any) -> str:
    """What the key's own refusal tells people to write."""
    try:
        key.metadata["parse"]("?")
    except ValueError as error:
        return str(error).partition("write ")[2]
    return ""


def _block(key: Any) -> str:
    comment = f"{key.metadata['about']} Unit: {key.metadata['unit']}."
    lines = textwrap.wrap(comment, 108, break_on_hyphens=False)
    return "\n".join([*(f"# {line}" for line in lines), f"#{key.name}: {_shown(key.default)}"])


def _shown(value: object) -> str:
    """Render a default as YAML on one line."""
    plain = [str(item) for item in value] if isinstance(value, tuple) else value
    return (
        yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    )


def _duration(seconds: int) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size and seconds % size == 0:
            return f" ({seconds // size} {name})"
    return ""


def _size(size: int) -> str:
    return f" ({size // 1024**2} MiB)" if size >= 1024**2 else ""


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    EXAMPLE.write_text(render_example())
    DOCUMENT.write_text(render_document())
