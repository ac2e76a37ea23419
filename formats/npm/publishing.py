"""`npm publish`, and every other PUT of a package's document.

Reading list: libnpmpublish, lib/publish.js; npm docs, npm-publish.

The tarball goes to the store while the body still comes; what the document says about it is judged
after. A document that attaches nothing is one that was read before and changed: see editing.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from starlette.responses import Response

from formats.npm.adapter import ATTESTATIONS, TARBALL_TYPE, Npm
from formats.npm.body import PublishBody, Received
from formats.npm.bundles import BUNDLES, MAX_PREDICATE, parse_bundle
from formats.npm.editing import Editing
from formats.npm.json_bodies import answer
from formats.npm.metadata import Attachment as Announced
from formats.npm.metadata import Publication, access_notice, parse_publish
from formats.npm.names import PackageName
from formats.npm.paths import PACKAGE, package_in
from registry.apart import apart
from registry.errors import TransferCut
from registry.packaging.attachments import Attachment
from registry.packaging.files import Files, once
from registry.packaging.format import StoredFile, VersionFacts
from registry.packaging.publishing import Published, Publishing
from registry.packaging.surface import Call, Route
from registry.rest.needs import PUBLISH_PACKAGE
from storage.errors import Invalid, TooLarge


@dataclass(frozen=True, slots=True)
class Provenance:
    """What attests where a tarball comes from."""

    predicate_type: str
    attachment: Attachment


class Publishes:
    """Takes what clients PUT."""

    def __init__(
        self,
        adapter: Npm,
        files: Files,
        publishing: Publishing,
        editing: Editing,
        tarball_bytes: int,
    ) -> None:
        self._adapter = adapter
        self._files = files
        self._publishing = publishing
        self._editing = editing
        self._tarball_bytes = tarball_bytes

    def routes(self) -> list[Route]:
        """Return the routes of publishing."""
        return [Route("PUT", PACKAGE, self.put, PUBLISH_PACKAGE)]

    async def put(self, call: Call) -> Response:
        """PUT /PACKAGE: publish a version, or change what may change of those there are."""
        package = package_in(call.values)
        kept: list[StoredFile] = []
        try:
            received = await self._receive(call, package, kept)
            if not received.attached:
                return await self._editing.change(call, received.document, revision=None)
            document = received.document
            publication = await apart(len(document), parse_publish, document, package)
            tarball = self._attached(received, publication)
            facts = await self._read(package, publication, tarball)
            provenance = await self._provenance(received, publication, tarball)
        except BaseException:
            await self._files.discard(kept)
            raise
        if provenance is not None:
            types = {ATTESTATIONS: [provenance.predicate_type]}
            facts = replace(facts, computed={**facts.computed, **types})
        published = await self._publishing.publish(
            call.who,
            call.repository,
            package.name,
            facts,
            [tarball],
            list(publication.dist_tags),
            [provenance.attachment] if provenance else [],
        )
        return answer(
            {"ok": "published", "success": True}, 201, notice=_notice(call, publication, published)
        )

    async def _receive(
        self, call: Call, package: PackageName, kept: list[StoredFile]
    ) -> Received[StoredFile]:
        most = await self._editing.most(call)
        call.body.require_at_most(body_bytes(self._tarball_bytes, most))

        async def keep(name: str, _: str, chunks: AsyncIterator[bytes]) -> StoredFile:
            async with aclosing(self._capped(chunks)) as capped:
                file = await self._files.add(_file_name(name, package), TARBALL_TYPE, capped)
            kept.append(file)
            return file

        received = await PublishBody(call.body.chunks(), keep, most).read()
        if not call.body.complete:
            raise TransferCut("the body was cut short: publish again")
        return received

    def _attached(self, received: Received[StoredFile], publication: Publication) -> StoredFile:
        """Return the tarball, which is all that was kept. Raises Invalid."""
        found = received.attached[publication.tarball.name]
        _check_length(publication.tarball, found.size)
        if found.kept is None or any(
            each.kept is not None and each is not found for each in received.attached.values()
        ):
            raise Invalid("the tarball, and nothing else, is attached as base64")
        return found.kept

    async def _capped(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yield a tarball's bytes. Raises TooLarge before one too many is kept."""
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._tarball_bytes:
                raise TooLarge(f"the tarball is larger than {self._tarball_bytes} bytes")
            yield chunk

    async def _provenance(
        self, received: Received[StoredFile], publication: Publication, tarball: StoredFile
    ) -> Provenance | None:
        """Keep the sigstore bundle that may come beside the tarball. Raises Invalid."""
        if publication.provenance is None:
            return None
        said = publication.provenance
        data = received.attached[said.name].text
        if data is None or not said.content_type.startswith(BUNDLES):
            raise Invalid(f"attachment {said.name} is no sigstore bundle as JSON text")
        bundle = await asyncio.to_thread(parse_bundle, data)
        about = (publication.package.text, publication.version, [tarball.sha512])
        if bundle is None or not bundle.is_about(*about):
            raise Invalid(
                f"attachment {said.name} is no attestation of this tarball: the subject of one is "
                f"pkg:npm/{publication.package.text}@{publication.version} with the tarball's "
                f"sha512, and its predicateType a text of at most {MAX_PREDICATE} characters"
            )
        name = tarball.name.removesuffix(".tgz") + ".sigstore"
        file = await self._files.add(name, said.content_type, once(data))
        return Provenance(bundle.predicate_type, Attachment(said.content_type, file))

    async def _read(
        self, package: PackageName, publication: Publication, tarball: StoredFile
    ) -> VersionFacts:
        async with self._files.opened(tarball) as opened:
            files = {tarball.name: opened}
            return await self._files.read_by(
                self._adapter, package.text, publication.metadata, files
            )


def _notice(call: Call, publication: Publication, published: Published) -> str:
    """Return what the publisher is told: of a link that was made, else of `--access`."""
    if published.link is not None:
        return published.link.notice
    new = call.at.package_id is None
    visibility = call.at.default_visibility if new else call.at.visibility
    return access_notice(publication, visibility)


def body_bytes(tarball_bytes: int, document_bytes: int) -> int:
    """Return how large a body may be: a tarball in base64, and a document."""
    return tarball_bytes * 4 // 3 + document_bytes


def _file_name(attachment: str, package: PackageName) -> str:
    """Return the name of a file: npm writes the scope before it, as a path."""
    return attachment.removeprefix(f"@{package.owner}/")


def _check_length(attachment: Announced, size: int) -> None:
    if attachment.length is not None and attachment.length != size:
        raise Invalid(
            f"attachment {attachment.name} says {attachment.length} bytes, and has {size}: "
            "publish again"
        )
