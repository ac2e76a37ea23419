"""Every route of the running application declares what it does, and takes no owner's name."""

from collections.abc import Iterator
from typing import TypeVar

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from auth.principals import Action
from registry.app import build_surface
from registry.dispatch import Dispatch
from registry.oci import paths
from registry.oci.surface import OPEN_BECAUSE, OciSurface
from registry.packaging.surface import FormatSurface
from registry.rest.needs import Need, On
from registry.rest.surface import RestSurface
from registry.site_routes import SiteRoute
from storage.names import RESERVED_OWNERS
from tests.registry.client import digest_of
from tests.registry.world import World

T = TypeVar("T")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


def parts(thing: object, seen: set[int]) -> Iterator[object]:
    """Walk an application through everything it holds, by whatever name: wrappers and all."""
    if id(thing) in seen or isinstance(thing, type):
        return
    seen.add(id(thing))
    yield thing
    inner = list(getattr(thing, "__dict__", {}).values())
    closure = getattr(thing, "__closure__", None)
    inner += [cell.cell_contents for cell in closure] if isinstance(closure, tuple) else []
    inner += thing if isinstance(thing, list | tuple) else []
    inner += thing.values() if isinstance(thing, dict) else []
    for one in inner:
        yield from parts(one, seen)


def routes(world: World) -> list[BaseRoute]:
    found = [
        part for part in parts(build_surface(world.services), set()) if isinstance(part, Router)
    ]
    return [route for router in found for route in router.routes]


def undeclared(found: list[BaseRoute]) -> list[BaseRoute]:
    """Return the routes that say neither their action nor why they are open to all."""
    return [
        route
        for route in found
        if not isinstance(route, SiteRoute)
        or (route.action is None and len(route.open_because.split()) < 3)
    ]


async def test_every_route_of_the_site_declares_its_action(world: World) -> None:
    found = routes(world)
    assert {"/", "/token", "/healthz"} <= {getattr(route, "path", "") for route in found}
    assert undeclared(found) == []


async def nothing(_: object) -> Response:
    return Response()


def test_a_route_that_declares_nothing_is_found() -> None:
    plain = Route("/x", nothing)
    assert undeclared([plain, SiteRoute("/y", nothing, action=Action.PULL)]) == [plain]
    assert undeclared([Mount("/z", routes=[])]) != []
    with pytest.raises(ValueError, match="one of them"):
        SiteRoute("/x", nothing)
    with pytest.raises(ValueError, match="one of them"):
        SiteRoute("/x", nothing, action=Action.PULL, open_because="it reads nothing at all")


def walked(world: World, kind: type[T]) -> list[T]:
    """The applications of a kind, of which there are routes that Starlette knows nothing of."""
    return [part for part in parts(build_surface(world.services), set()) if isinstance(part, kind)]


async def test_what_the_first_fork_leads_to_is_walked_by_tests(world: World) -> None:
    """An application of another kind would have routes that no test looks at."""
    ways = [way for fork in walked(world, Dispatch) for way in vars(fork).values()]
    kinds = {type(one) for way in ways for one in (way if isinstance(way, tuple) else [way])}
    assert {OciSurface, RestSurface, Starlette} <= kinds
    assert kinds <= {OciSurface, RestSurface, Starlette, FormatSurface}


async def test_every_route_of_a_format_says_what_it_needs(world: World) -> None:
    for surface in walked(world, FormatSurface):
        for route in (route for mount in surface.mounts for route in mount.routes):
            assert isinstance(route.need, Need)
            assert route.need.on is not On.NOTHING or len(route.need.why.split()) > 3, route.path


async def test_every_first_segment_is_a_name_that_nobody_gets(world: World) -> None:
    templates = [getattr(route, "path", "") for route in routes(world)]
    templates += paths.TEMPLATES.values()
    templates += [one.path for api in walked(world, RestSurface) for one in api.operations]
    templates += [raw.decode() for one in walked(world, FormatSurface) for raw in one.prefixes]
    first = {path.split("/")[1] for path in templates} - {""}
    assert {"token", "v2", "api", "-"} <= first <= RESERVED_OWNERS


async def test_what_is_not_declared_under_v2_is_not_answered(world: World) -> None:
    """The table of endpoints is all there is: each declares an action, any other method is 405."""
    surface, *_ = (
        part for part in parts(build_surface(world.services), set()) if isinstance(part, OciSurface)
    )
    declared = {(kind, method) for kind, method in surface.endpoints}
    declared |= {(kind, method) for kind in OPEN_BECAUSE for method in ("GET", "HEAD")}
    assert {kind for kind, _ in declared} == set(paths.TEMPLATES)
    assert all(isinstance(end.action, Action) for end in surface.endpoints.values())
    words = {"name": "acme/app", "reference": "v1", "digest": digest_of(b""), "upload": "x"}
    for kind, template in paths.TEMPLATES.items():
        for method in METHODS:
            path = template.format(**words)
            response = await world.client().request(method, path)
            refused = 404 if method == "HEAD" else 405
            if (kind, method) not in declared:
                assert response.status_code == refused, (method, path)
            elif method != "HEAD":
                assert response.status_code != 405, (method, path)
