"""What programs ask before they ask for packages: where things are, who calls, whose packages.

Reading list: GitHub's REST API, "Meta", "Users", "Organizations".
"""

from typing import Any

from registry.github.documents import Documents
from registry.github.packages import V3
from registry.owned_packages import OwnedPackages
from registry.rest.needs import ANYBODY, SIGNED_IN, open_because
from registry.rest.operation import Call, Operation


class AccountsApi:
    """The operations."""

    def __init__(self, owned: OwnedPackages) -> None:
        self._owned = owned

    def operations(self) -> list[Operation]:
        """Return what this part of the API answers."""
        all_ = open_because("it says where things are, and nothing of what is there")
        return [
            Operation("GET", V3, self.root, "Say where things are", all_),
            Operation("GET", f"{V3}/", self.root, "Say where things are", all_),
            Operation("GET", f"{V3}/user", self.caller, "Say who is calling", SIGNED_IN),
            Operation("GET", f"{V3}/users/{{owner}}", self.user, "Show an account", ANYBODY),
            Operation(
                "GET", f"{V3}/orgs/{{owner}}", self.organization, "Show an organization", ANYBODY
            ),
        ]

    async def root(self, call: Call) -> dict[str, Any]:
        """Say where things are."""
        return Documents(call.base).root()

    async def caller(self, call: Call) -> dict[str, Any]:
        """Say who is calling."""
        return Documents(call.base).own_account(await self._owned.caller(call.who))

    async def user(self, call: Call) -> dict[str, Any]:
        """Show a user, or as GitHub does an organization."""
        name = call.values["owner"]
        owner = await self._owned.owner(call.who, name, "user", "organization")
        return Documents(call.base).account(owner)

    async def organization(self, call: Call) -> dict[str, Any]:
        """Show an organization."""
        owner = await self._owned.owner(call.who, call.values["owner"], "organization")
        return Documents(call.base).organization(owner)
