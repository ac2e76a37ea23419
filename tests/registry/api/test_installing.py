"""How a package is installed, as /api/v1 and the command say."""

from tests.formats.drivers import NpmDriver
from tests.registry.api.asking import problem
from tests.registry.client import Client
from tests.registry.world import World


async def lines(client: Client, path: str) -> dict[str, list[str]]:
    response = await client.get(f"/api/v1/packages/{path}")
    assert response.status_code == 200, response.text
    return {each["client"]: each["lines"] for each in response.json()}


async def test_an_image_is_pulled_by_its_newest_tag(writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    found = await lines(writer, "acme/app/install")
    assert found["docker"] == ["docker pull registry.test/acme/app:v1"]
    assert found["podman"] == ["podman pull registry.test/acme/app:v1"]
    await writer.push_image("acme/app", "latest")
    found = await lines(writer, "acme/app/install")
    assert found["docker"] == ["docker pull registry.test/acme/app:latest"]
    found = await lines(writer, "acme/app/install?version=v1")
    assert found["docker"] == ["docker pull registry.test/acme/app:v1"]


async def test_a_package_is_installed_by_its_own_clients(writer: Client) -> None:
    driver = NpmDriver()
    for version in ("1.0.0", "1.1.0"):
        await driver.publish(writer, "pad", version)
    found = await lines(writer, "acme/npm%2Fpad/install")
    assert found["npm"] == [
        "npm config set @acme:registry=http://registry.test/npm/",
        "npm install @acme/pad@1.1.0",
    ]
    assert found["oras"] == ["oras pull registry.test/acme/npm/pad:1.1.0"]
    found = await lines(writer, "acme/npm%2Fpad/install?version=1.0.0")
    assert found["pnpm"][-1] == "pnpm add @acme/pad@1.0.0"


async def test_what_is_not_there_is_not_installed(world: World, writer: Client) -> None:
    await writer.push_image("acme/app", "v1")
    await NpmDriver().publish(writer, "pad", "1.0.0")
    for path in ("acme/app", "acme/npm%2Fpad"):
        response = await writer.get(f"/api/v1/packages/{path}/install?version=9.9.9")
        problem(response, 404, "", "9.9.9")
    response = await writer.get(f"/api/v1/packages/acme/app/install?version={'0' * 255}")
    problem(response, 404)
    response = await world.client("stranger").get("/api/v1/packages/acme/app/install")
    problem(response, 404)
