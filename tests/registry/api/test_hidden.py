"""Hidden and unknown are one answer, by the same statements: at every path of /api/v1."""

from collections.abc import Mapping

import pytest

from auth.audit import OPERATOR
from auth.principals import Visibility
from registry.app import build_api
from tests.registry.api.asking import alike
from tests.registry.client import digest_of
from tests.registry.world import World

HIDDEN = {
    "owner": "acme",
    "user": "owner",
    "project": "widget",
    "package": "app",
    "team": "core",
    "member": "reader",
    "account": "reader",
    "tag": "v1",
    "source": "git.example%2Fx",
    "id": "1",
}
"""What is there, and none of a stranger's business."""

UNKNOWN = (
    *({"owner": "emca"}, {"user": "renwo"}, {"project": "tegdiw"}, {"package": "ppa"}),
    *({"team": "eroc"}, {"member": "redaer"}, {"account": "redaer"}, {"tag": "v7"}),
    *({"source": "git.example%2Fy"}, {"id": "9"}),
)
"""What is not, one thing at a time, of the same lengths."""


def filled(template: str, names: Mapping[str, str]) -> str:
    for name, text in names.items():
        template = template.replace(f"{{{name}}}", text)
    assert "{" not in template, f"{template} names what HIDDEN does not say"
    return template


@pytest.fixture
async def digest(world: World) -> str:
    """A private project with a package, a team, and something deleted; the image's digest."""
    services, path = world.services, "acme/widget"
    project = await services.projects.create(OPERATOR, path, Visibility.PRIVATE)
    await services.projects.add_source(OPERATOR, path, "https://git.example/x")
    await services.teams.create(OPERATOR, "acme/core")
    for tag in ("v2", "v1"):
        pushed = await world.client().push_image("acme/app", tag)
        if tag == "v2":
            await world.client().delete(f"/v2/acme/app/manifests/{pushed.digest}")
    await services.packages.link(OPERATOR, "acme/app", project)
    return pushed.digest


@pytest.mark.parametrize("who", ["stranger", ""])
async def test_no_path_tells_what_is_hidden(world: World, digest: str, who: str) -> None:
    api = build_api(world.services, world.services.authenticator.authenticate)
    hidden = {**HIDDEN, "digest": digest, "subject": digest}
    unknown = [*UNKNOWN, {"digest": digest_of(b"none")}, {"subject": digest_of(b"none")}]
    for template in sorted({one.path for one in api.operations if one.parameters}):
        first = filled(template, hidden)
        others = {filled(template, {**hidden, **names}) for names in unknown} - {first}
        await alike(world, who, first, *sorted(others))


@pytest.mark.parametrize("who", ["stranger", ""])
@pytest.mark.parametrize("path", ["packages", "search"])
async def test_no_filter_tells_what_is_hidden(
    world: World, digest: str, who: str, path: str
) -> None:
    assert digest
    word = "q=app&" if path == "search" else ""
    for name in ("owner=acme", "project=acme%2Fwidget" if path == "packages" else "q=layer"):
        key, _, text = name.partition("=")
        unknown = text.replace("acme", "emca").replace("layer", "reyal")
        base = f"/api/v1/{path}?{'' if key == 'q' else word}{key}="
        await alike(world, who, base + text, base + unknown)
