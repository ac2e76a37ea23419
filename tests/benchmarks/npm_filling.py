"""A full database whose packages are all of npm, each with a version: made from the other's rows.

The bytes of the tarballs are nowhere: documents and searches alone are measured on it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from formats.npm.adapter import Npm
from registry.package_texts import words_json, words_of
from registry.packaging.format import PublishedVersion, StoredFile
from storage.digest import Digest
from tests.benchmarks import filling, npm_packages
from tests.benchmarks.npm_packages import SCOPE, Version

PACKAGES = filling.PACKAGES
VERSION = "1.0.0"
TOGETHER = 10
"""Packages of the first owner beside those that are its anyway: the first, which one search finds
however many there are."""

_OWNER = f"case when id <= {TOGETHER} then 0 else (id - 1) % {filling.OWNERS} end"
_KEPT = "(select id from packages where format = 'npm')"
CONVERT = f"""
update packages set format = 'npm', published_at = ?1, owner_id = {filling.USERS + 1} + {_OWNER},
  repository = printf('org-%03d', {_OWNER}) || '/npm/' || name
where id <= ?2
"""
MOVE_PROJECTS = f"update projects set owner_id = {filling.USERS + 1} where id <= {TOGETHER}"
DROP = [
    f"delete from {table} where {column} not in {_KEPT}"
    for table, column in (
        ("tags", "repository_id"),
        ("tag_history", "repository_id"),
        ("manifest_blobs", "repository_id"),
        ("manifests", "repository_id"),
        ("repository_blobs", "repository_id"),
        ("packages", "id"),
    )
]
MAKE_MANIFESTS = f"""
insert into manifests (repository_id, content_id, media_type, created_at)
select id, 1, 'application/vnd.oci.image.manifest.v1+json', ?1 from packages
where id > {filling.REPOSITORIES} and format = 'npm'
"""
DROP_TAGS = f"delete from tags where repository_id in {_KEPT}"
MAKE_TAGS = """
insert into tags (repository_id, name, manifest_id, created_at, updated_at)
select p.id, ?2, (select min(m.id) from manifests m where m.repository_id = p.id), ?1, ?1
from packages p where p.format = 'npm'
"""
MAKE_VERSIONS = f"""
insert into package_versions (id, package_id, name, tag, order_key, digest, manifest_id,
  published_at)
select t.repository_id, t.repository_id, '{VERSION}', '{VERSION}', '1', 'sha256:', t.manifest_id, ?1
from tags t join packages p on p.id = t.repository_id and p.format = 'npm'
where t.name = '{VERSION}'
"""
FRAGMENT = "insert into version_fragments (version_id, kind, bytes) values (?, ?, ?)"
TEXT = """
insert into package_texts (package_id, title, description, source, licenses, terms, updated_at)
values (?, ?, ?, '', 'MIT', ?, ?)
"""
TERM = "insert into search_terms (package_id, term, owner_id, visibility) values (?, ?, ?, 0)"


def name(number: int) -> str:
    """The name of a package, by its number."""
    return f"app-{number:05d}"


def copy_filled(directory: Path, count: int) -> None:
    """Put a database of so many npm packages into a data directory."""

    def make(made: Path) -> None:
        filling.copy_filled(made)
        _convert(made, count)

    version = filling.version(__file__, npm_packages.__file__)
    filling.copy_kept(directory, f"npm_{count}", version, make)


def _convert(directory: Path, count: int) -> None:
    """Make the first packages of a full database npm's, and take the others out."""
    with closing(sqlite3.connect(directory / "packhouse.db")) as database:
        database.execute(CONVERT, (filling.AT, count))
        database.execute(MOVE_PROJECTS)
        for sql in DROP:
            database.execute(sql)
        database.execute(MAKE_MANIFESTS, (filling.AT,))
        database.execute(DROP_TAGS)
        for tag in (VERSION, "latest"):
            database.execute(MAKE_TAGS, (filling.AT, tag))
        database.execute(MAKE_VERSIONS, (filling.AT,))
        for sql, rows in ((FRAGMENT, _fragments), (TEXT, _texts), (TERM, _terms)):
            database.executemany(sql, _all(rows, count))
        database.execute("analyze")
        database.commit()


Rows = Callable[[int], Iterator[Sequence[object]]]


def _all(rows: Rows, count: int) -> Iterator[Sequence[object]]:
    for number in range(count):
        yield from rows(number)


def _fragments(number: int) -> Iterator[Sequence[object]]:
    version = Version(name(number), VERSION)
    sha512 = hashlib.sha512(name(number).encode()).hexdigest()
    digest = Digest(f"sha256:{sha512[:64]}")
    file = StoredFile(version.file, "", digest, version.size, "0" * 32, "0" * 40, sha512)
    published = PublishedVersion(
        package=f"{SCOPE}/{version.name}",
        version=VERSION,
        metadata=json.dumps(version.about()).encode(),
        computed={},
        files=[file],
        state={},
        published_at=filling.AT,
    )
    for kind, data in Npm().fragments(published).items():
        yield number + 1, kind, data


def _texts(number: int) -> Iterator[Sequence[object]]:
    about = Version(name(number), VERSION).about()
    terms = json.dumps(words_of([about["description"]]))
    yield number + 1, name(number), about["description"], terms, filling.AT


def _terms(number: int) -> Iterator[Sequence[object]]:
    owner = 0 if number < TOGETHER else number % filling.OWNERS
    about = Version(name(number), VERSION).about()
    repository = f"org-{owner:03d}/npm/{name(number)}"
    for word in json.loads(words_json(repository, json.dumps(words_of([about["description"]])))):
        yield number + 1, word, filling.USERS + owner + 1
