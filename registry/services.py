"""What most surfaces are made of: each says for itself what it needs besides."""

from typing import Protocol

from auth.accounts import Accounts
from auth.authenticate import Authenticator
from auth.organizations import Organizations
from auth.permissions import Permissions
from auth.places import Places
from auth.projects import Projects
from auth.teams import Teams
from auth.tokens import Tokens
from registry.config import Config
from registry.packaging.services import Packaging
from storage.clock import Clock
from storage.database import Database


class AccountServices(Protocol):
    """The services that are about people, their rights, and where packages are."""

    @property
    def config(self) -> Config: ...
    @property
    def database(self) -> Database: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def organizations(self) -> Organizations: ...
    @property
    def teams(self) -> Teams: ...
    @property
    def projects(self) -> Projects: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def permissions(self) -> Permissions: ...
    @property
    def places(self) -> Places: ...
    @property
    def packaging(self) -> Packaging: ...
