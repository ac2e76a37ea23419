"""How to install a package: lines to copy, one client each."""

from urllib.parse import urlsplit

from formats.npm.names import PackageName
from registry.packaging.format import InstallCommand


def install_commands(package: PackageName, version: str, base: str) -> list[InstallCommand]:
    """Return the lines for a version; `base` is the address of the npm registry: https://host/npm.

    Names and versions were parsed before, and hold nothing that a shell reads.
    """
    wanted = f"{package.text}@{version}"
    scope = f"@{package.owner}:registry={base}/"
    repository = f"{urlsplit(base).netloc}/{package.repository}"
    yarn = f"yarn config set npmScopes.{package.owner}"
    return [
        InstallCommand("npm", (f"npm config set {scope}", f"npm install {wanted}")),
        InstallCommand("pnpm", (f"npm config set {scope}", f"pnpm add {wanted}")),
        InstallCommand(
            "yarn",
            (
                f"{yarn}.npmRegistryServer {base}",
                f"{yarn}.npmPublishRegistry {base}",  # or it publishes elsewhere
                f"yarn add {wanted}",
            ),
        ),
        InstallCommand("yarn 1", (f"npm config set {scope}", f"yarn add {wanted}")),
        InstallCommand("oras", (f"oras pull {repository}:{version}",)),
    ]
