"""What npm's clients may send, by what their package has."""

import pytest

from formats.npm.body_scan import MAX_DOCUMENT
from tests.formats.drivers import NpmDriver
from tests.registry.client import Client
from tests.registry.world import World

PAD = "/npm/@acme%2fpad"


@pytest.fixture
async def writer(world: World) -> Client:
    client = world.client("writer")
    assert (await NpmDriver().publish(client, "pad", "1.0.0")).status_code == 201
    return client


@pytest.mark.parametrize("path", [PAD, f"{PAD}/-rev/1-x"])
async def test_a_small_package_has_no_large_document(
    world: World, writer: Client, path: str
) -> None:
    before = await world.footprint()
    document = b'{"x":"' + b"x" * (MAX_DOCUMENT + 100_000) + b'"}'
    response = await writer.put(path, content=document)
    assert response.status_code == 413
    assert await world.footprint() == before


async def test_a_package_takes_back_a_document_that_is_twice_its_own(writer: Client) -> None:
    for number in range(8):
        published = await NpmDriver().publish(writer, "pad", f"1.1.{number}", more="x" * 900_000)
        assert published.status_code == 201, published.text
    document = (await writer.get(PAD)).json()
    document["x"] = "x" * (MAX_DOCUMENT // 2)
    response = await writer.put(f"{PAD}/-rev/{document['_rev']}", json=document)
    assert response.status_code == 201, response.text
