"""Wiring: the one module that imports everything, and gives each part its collaborators."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection

from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from auth.accounts import Accounts
from auth.authenticate import Authenticator
from auth.jwt import Bearers
from auth.last_uses import LastUses
from auth.oauth import form_user, refusing
from auth.organizations import Organizations
from auth.passwords import Passwords
from auth.permissions import Permissions
from auth.places import Places
from auth.projects import Projects
from auth.refresh_tokens import RefreshTokens
from auth.routes import TokenService
from auth.signing_keys import SigningKeys
from auth.teams import Teams
from auth.tokens import Tokens
from formats.npm.adapter import Npm
from formats.npm.assembly import npm_routes
from registry.api.caller import document
from registry.api.of_accounts import account_operations
from registry.api.of_packages import package_operations
from registry.audit import Audit
from registry.background import GarbageCollection, holder
from registry.blobs import Blobs
from registry.catalog import Catalog
from registry.config import Config
from registry.debts import Counts, Debts
from registry.deletion import Deletion
from registry.dispatch import SITE_ERRORS, Dispatch
from registry.gc import Collector
from registry.github.errors import GITHUB
from registry.github.operations import github_operations
from registry.health import Health
from registry.instruments import NONE, Instruments, open_tracing
from registry.leases import Leases
from registry.manifest_store import ManifestStore
from registry.metrics import Meters, answer_scrapes
from registry.oci.handlers import Handlers
from registry.oci.surface import OciSurface
from registry.open_files import OpenFiles
from registry.packages import Packages
from registry.packaging.formats import Formats
from registry.packaging.services import Packaging
from registry.packaging.surface import AdapterRoutes, format_surfaces
from registry.proxies import Hosts, PathDialect, Proxies
from registry.purging import Purging
from registry.rate_limits import RateLimits
from registry.reflection import PATH as REFLECTION
from registry.reflection import Reflection
from registry.requests import Exchanges, log_exchange
from registry.rest.callers import Authenticate
from registry.rest.names import check_names
from registry.rest.operation import Operation
from registry.rest.problem import render_failed, render_problem
from registry.rest.surface import Dialect, RestSurface
from registry.restoration import Restoration
from registry.retention import Retention
from registry.sign_in_limits import SignInLimits
from registry.site_routes import SiteRoute
from registry.startup import forget_first_login
from registry.ui.home import home
from registry.ui.surface import page_routes
from registry.upload_ids import UploadIds
from registry.uploads import UploadLimits, Uploads
from storage.blobs import BlobStore
from storage.clock import Clock, now
from storage.connect import open_database
from storage.database import Database
from storage.filesystem import FilesystemStore

FORMATS = Formats([Npm()])
"""The adapters of package formats."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a surface or a command works with, over one database and one store."""

    config: Config
    database: Database
    store: BlobStore
    files: OpenFiles
    accounts: Accounts
    organizations: Organizations
    teams: Teams
    projects: Projects
    tokens: Tokens
    keys: SigningKeys
    bearers: Bearers
    authenticator: Authenticator
    last_uses: LastUses
    refresh_tokens: RefreshTokens
    permissions: Permissions
    places: Places
    catalog: Catalog
    blobs: Blobs
    uploads: Uploads
    manifests: ManifestStore
    deletion: Deletion
    packages: Packages
    packaging: Packaging
    restoration: Restoration
    leases: Leases
    collector: Collector
    audit: Audit
    clock: Clock


@asynccontextmanager
async def open_services(
    config: Config,
    clock: Clock = now,
    instruments: Instruments = NONE,
    formats: Formats = FORMATS,
) -> AsyncIterator[Services]:
    """Open database and store, and close them in reverse order."""
    async with AsyncExitStack() as stack:
        database = await open_database(config.database, config.directory)
        stack.push_async_callback(database.close)
        reserve = None if config.reserve_bytes < 0 else config.reserve_bytes
        store = FilesystemStore(config.directory, reserve=reserve)
        stack.push_async_callback(store.close)
        watched = instruments.database(database), instruments.store(store)
        services = wire(config, *watched, clock, formats)
        stack.push_async_callback(services.files.close)
        yield services


def wire(
    config: Config, database: Database, store: BlobStore, clock: Clock, formats: Formats = FORMATS
) -> Services:
    """Connect the services over an open database and store."""
    accounts, tokens = Accounts(database, clock), Tokens(database, clock)
    keys, leases = SigningKeys(database, clock), Leases(database, clock, holder())
    last_uses, collector = LastUses(database, clock), Collector(store, _retention(config), clock)
    permissions, bearers = Permissions(database, clock), Bearers(keys, clock, config.bearer_seconds)
    files, blobs = OpenFiles(), Blobs(database, store, permissions, clock)
    packaging = Packaging.over(config, database, store, files, blobs, permissions, formats, clock)
    return Services(
        config=config,
        database=database,
        store=store,
        files=files,
        accounts=accounts,
        organizations=Organizations(database, accounts, clock),
        teams=Teams(database, accounts, clock),
        projects=Projects(database, accounts, clock),
        tokens=tokens,
        keys=keys,
        bearers=bearers,
        authenticator=Authenticator(accounts, tokens, bearers, Passwords(), last_uses),
        last_uses=last_uses,
        refresh_tokens=RefreshTokens(database, tokens, clock),
        permissions=permissions,
        places=Places(database, permissions),
        catalog=Catalog(database, permissions),
        blobs=blobs,
        uploads=_uploads(config, database, store, blobs, keys, permissions, formats, clock),
        manifests=packaging.manifests,
        deletion=Deletion(database, permissions, formats, clock),
        packages=Packages(database, clock),
        packaging=packaging,
        restoration=Restoration(database, Purging(collector, leases), formats, clock),
        leases=leases,
        collector=collector,
        audit=Audit(database, clock),
        clock=clock,
    )


def _uploads(
    config: Config,
    database: Database,
    store: BlobStore,
    blobs: Blobs,
    keys: SigningKeys,
    permissions: Permissions,
    formats: Formats,
    clock: Clock,
) -> Uploads:
    ids = UploadIds(keys, clock)
    limits = UploadLimits(config.upload_seconds, config.blob_bytes, config.uploads_per_account)
    return Uploads(database, store, blobs, ids, permissions, formats, clock, limits)


def _retention(config: Config) -> Retention:
    return Retention(
        upload=config.upload_seconds,
        restore=config.restore_seconds,
        grace=config.gc_grace_seconds,
        audit=config.audit_seconds,
    )


def build_app(
    config: Config, counts: Counts | None = None, scrapes: Connection | None = None
) -> ASGIApp:
    """Return the application; its lifespan opens the services.

    `scrapes` is where the supervisor asks for metrics, if it will.
    """
    meters = None
    if scrapes is not None:
        meters = Meters()
        answer_scrapes(scrapes, meters)
    instruments = Instruments(meters, open_tracing(config))
    return Application(config, counts or Counts.alone(), instruments)


class Application:
    """Opens everything at the server's start, closes it at its end, and hands requests on."""

    _surface: ASGIApp

    def __init__(self, config: Config, counts: Counts, instruments: Instruments) -> None:
        self._config = config
        self._counts = counts
        self._instruments = instruments
        self._router = Router(lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the server's life (ASGI)."""
        if scope["type"] == "lifespan":
            await self._router(scope, receive, send)
        else:
            await self._surface(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Router) -> AsyncIterator[None]:
        instruments = self._instruments
        async with AsyncExitStack() as stack:
            stack.push_async_callback(instruments.close)
            services = await stack.enter_async_context(
                open_services(self._config, instruments=instruments)
            )
            await services.keys.load()
            self._surface = build_surface(services, self._counts, instruments)
            await stack.enter_async_context(services.last_uses.running())
            interval = self._config.gc_interval_seconds
            rounds = instruments.rounds(services.collector)
            collection = GarbageCollection(rounds, services.leases, interval)
            await stack.enter_async_context(collection.running())
            await stack.enter_async_context(services.audit.running())
            yield


Adapters = Callable[[Services, SignInLimits], Sequence[AdapterRoutes]]


def installed(services: Services, sign_ins: SignInLimits) -> Sequence[AdapterRoutes]:
    """Return how the clients of each format that this server holds are answered."""
    return [npm_routes(services, sign_ins)]


def build_surface(
    services: Services,
    counts: Counts | None = None,
    instruments: Instruments = NONE,
    adapters: Adapters = installed,
) -> ASGIApp:
    """Return what answers requests: the OCI surface below /v2, formats, and the site's routes."""
    config, counts = services.config, counts or Counts.alone()
    limits = RateLimits(counts.debts, config.pulls_per_minute, config.writes_per_minute)
    oci = OciSurface(
        Handlers(
            blobs=services.blobs,
            uploads=services.uploads,
            manifests=services.manifests,
            deletion=services.deletion,
            catalog=services.catalog,
            store=services.store,
            files=services.files,
            manifest_bytes=config.manifest_bytes,
        ),
        services.authenticator,
        services.permissions,
        services.catalog,
        limits,
        config.public_url,
        config.idle_seconds,
    )
    sign_ins = SignInLimits(
        counts.debts, counts.known, config.tokens_per_minute, config.wrong_passwords
    )
    api = build_api(services, services.authenticator.authenticate, sign_ins, limits)
    github = _build_github(services, sign_ins, limits)
    hung = adapters(services, sign_ins)
    formats = format_surfaces(services, hung, sign_ins.door, limits)
    dispatch = Dispatch(oci, api, github, _build_site(services, sign_ins), formats)
    dialects: list[PathDialect] = [((b"/api/v3/",), GITHUB.error), ((b"/api/",), render_problem)]
    dialects += [(s.prefixes, one.error) for s, one in zip(formats, hung, strict=True)]
    watched = instruments.application(Hosts(dispatch, config.allowed_hosts, dialects))
    exchanges = Exchanges(watched, [log_exchange, services.audit.observe, *instruments.observers])
    return Proxies(exchanges, config.trusted_proxies)


def build_api(
    services: Services,
    authenticate: Authenticate,
    sign_ins: SignInLimits | None = None,
    limits: RateLimits | None = None,
) -> RestSurface:
    """Return what answers /api/v1, for callers that `authenticate` tells from their headers.

    Without `sign_ins` passwords are not counted, without `limits` nothing is: for a caller in this
    process.
    """
    config = services.config
    sign_ins = sign_ins or SignInLimits(Debts.alone(), Debts.alone(), 0, 0)
    limits = limits or RateLimits(Debts.alone(), 0, 0)
    operations = [
        *account_operations(services, sign_ins, lambda name: forget_first_login(config, name)),
        *package_operations(services),
    ]
    operations = [*operations, document(operations, version("packhouse"))]
    problems = Dialect(render_problem, render_failed, check_names)
    return _rest(services, operations, authenticate, sign_ins, limits, problems)


def _build_github(services: Services, sign_ins: SignInLimits, limits: RateLimits) -> RestSurface:
    authenticate = services.authenticator.authenticate
    return _rest(services, github_operations(services), authenticate, sign_ins, limits, GITHUB)


def _rest(
    services: Services,
    operations: list[Operation],
    authenticate: Authenticate,
    sign_ins: SignInLimits,
    limits: RateLimits,
    dialect: Dialect,
) -> RestSurface:
    return RestSurface(
        operations,
        authenticate,
        sign_ins.door,
        limits,
        services.permissions,
        services.places,
        dialect,
        services.config.public_url,
        services.config.idle_seconds,
    )


def _build_site(services: Services, sign_ins: SignInLimits) -> ASGIApp:
    config = services.config
    tokens = TokenService(
        services.authenticator,
        services.permissions,
        services.bearers,
        services.refresh_tokens,
        services.clock,
        lambda who: forget_first_login(config, who.name),
    )
    health = Health(services.database)
    site = Starlette(
        routes=[
            SiteRoute("/", home, open_because="the same page for everybody"),
            SiteRoute(
                "/token",
                sign_ins.door(tokens.token),
                open_because="the sign-in door: it grants what permissions allow",
            ),
            SiteRoute(
                "/token",
                refusing(sign_ins.door(tokens.form, form_user)),
                methods=("POST",),
                open_because="wrong credentials are refused; a bearer grants nothing by itself",
            ),
            *page_routes(services, sign_ins),
            SiteRoute("/healthz", health.alive, open_because="says that the process answers"),
            SiteRoute("/readyz", health.ready, open_because="says that the database answers"),
            SiteRoute(
                REFLECTION,
                Reflection(services.keys, services.clock).show,
                open_because="answers the doctor's signed question alone",
                methods=("GET", "POST"),
            ),
        ],
        exception_handlers=SITE_ERRORS,
    )
    site.router.redirect_slashes = False  # it would send people to whatever host they named
    return site
