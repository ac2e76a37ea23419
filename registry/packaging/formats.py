"""The adapters that this server has, and which repositories are theirs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from registry.errors import ReservedName
from registry.packaging.format import Format
from storage.errors import Conflict, NameInvalid, NotFound
from storage.names import RepositoryName, component_of


class Formats(Sequence[Format]):
    """Adapters by name, in the order in which they were given."""

    def __init__(self, adapters: Iterable[Format] = ()) -> None:
        self._adapters = {adapter.name: adapter for adapter in adapters}

    @overload
    def __getitem__(self, index: int) -> Format: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Format]: ...
    def __getitem__(self, index: int | slice) -> Format | Sequence[Format]:
        return list(self._adapters.values())[index]

    def __iter__(self) -> Iterator[Format]:
        return iter(self._adapters.values())

    def __len__(self) -> int:
        return len(self._adapters)

    def named(self, name: str) -> Format:
        """Return the adapter of a format. Raises NotFound."""
        adapter = self._adapters.get(name)
        if adapter is None:
            raise NotFound(f"this server holds no {name} packages")
        return adapter

    def of(self, repository: RepositoryName) -> Format | None:
        """Return the adapter of a package's repository, None for that of containers.

        Raises ReservedName for a name kept for a format that this server does not hold.
        """
        if not repository.is_format_path:
            return None
        word, first = repository.rest[:2]
        adapter = self._adapters.get(word)
        if adapter is None:
            raise ReservedName(
                f"{repository} is kept for {word} packages, which this server does not hold yet: "
                f"push to {repository.owner}/{word}-{first}"
            )
        return adapter

    def adapter_of(self, repository: RepositoryName) -> Format:
        """Return the adapter of a repository that only its packages have. Raises ReservedName."""
        adapter = self.of(repository)
        if adapter is None:
            raise ReservedName(f"{repository} is a repository of containers")
        return adapter

    def default_alias(self, repository: RepositoryName) -> str:
        """Return the default alias of a package, "" for one that has none."""
        word = repository.rest[0] if repository.is_format_path else ""
        adapter = self._adapters.get(word)
        return "" if adapter is None else adapter.default_alias

    def true_name(self, repository: RepositoryName, name: str) -> str:
        """Return what its clients call a package whose row has `name`: `@acme/pad`.

        "" for a container, and for what blobs came to first: only a version says its name.
        """
        adapter = self._adapters.get(repository.rest[0]) if repository.is_format_path else None
        try:
            return "" if adapter is None else adapter.package_name(repository, name)
        except NameInvalid:
            return ""

    def check_move(self, old: RepositoryName, new: RepositoryName, name: str) -> None:
        """Refuse a package, whose row has `name`, another place than its files say.

        Raises Conflict, ReservedName.
        """
        was, adapter = self.of(old), self.of(new)
        if was is None and adapter is None:
            return
        if was is None or adapter is not was:
            raise ReservedName(f"{new} is not a place for what {old} is: give it another name")
        said, wanted = was.package_name(old, name), was.package_name(new, name)
        if said != wanted or old.rest != new.rest:
            raise Conflict(
                f"{old} holds {said}, and its files say so: it cannot become {new}. Publish it "
                "under the new name instead"
            )

    def check_push(self, repository: RepositoryName) -> None:
        """Refuse a push to a name that no package can have. Raises ReservedName, NameInvalid.

        Only the version that is about to come knows what a slug stands for.
        """
        adapter, name = self.of(repository), "/".join(repository.rest[1:])
        if adapter is not None and component_of(repository.rest[-1]) == repository.rest[-1]:
            adapter.package_name(repository, name)


NONE = Formats()
"""No adapter: whatever is kept for a format is refused."""
