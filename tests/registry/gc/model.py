"""What one repository must show, kept as plain sets: the model beside the real thing."""

from dataclasses import dataclass, field

DAY = 86_400_000_000
WINDOW = 30 * DAY
PURGED = 0


@dataclass
class Held:
    """One manifest: its bytes, what it names, and the deletion that hides it, if any."""

    data: bytes
    layers: frozenset[bytes] = frozenset()
    children: frozenset[str] = frozenset()
    subject: str | None = None
    deletion: int | None = None
    deleted_at: int = 0

    @property
    def live(self) -> bool:
        return self.deletion is None


@dataclass
class Deleted:
    """One deletion: when, and the tags it took; its manifests point at it."""

    at: int
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class Shelf:
    """One repository."""

    manifests: dict[str, Held] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    uploaded: dict[bytes, int] = field(default_factory=dict)
    """Layers pushed or mounted here that no manifest has named since, and the last yes."""
    deletions: dict[int, Deleted] = field(default_factory=dict)
    hidden_by: int | None = None
    hidden: bool = False

    def live(self) -> dict[str, Held]:
        return {} if self.hidden else {d: m for d, m in self.manifests.items() if m.live}

    def named(self) -> set[bytes]:
        """Layers that a live manifest names."""
        return {layer for held in self.live().values() for layer in held.layers}

    def touch(self) -> None:
        """A push brings the package back."""
        self.hidden = False

    def put(self, digest: str, held: Held, tags: tuple[str, ...]) -> None:
        self.touch()
        self.manifests[digest] = held
        for layer in held.layers:
            self.uploaded.pop(layer, None)
        for tag in tags:
            self.tags[tag] = digest

    def parents(self, digest: str) -> list[Held]:
        return [held for held in self.manifests.values() if digest in held.children]

    def closure(self, digest: str) -> set[str]:
        """What goes with a manifest: children nothing else holds, untagged referrers."""
        going, added = {digest}, {digest}
        while added:
            found = {child for one in added for child in self.manifests[one].children}
            loose = {
                child
                for child in found
                if child not in self.tags.values()
                and not any(
                    child in held.children and other not in going
                    for other, held in self.live().items()
                )
            }
            referrers = {
                other
                for other, held in self.live().items()
                if held.subject in added and other not in self.tags.values()
            }
            added = {one for one in loose | referrers if self.manifests[one].live} - going
            going |= added
        return going

    def hide(self, deletion: int, digests: set[str], at: int) -> None:
        tags = {tag: digest for tag, digest in self.tags.items() if digest in digests}
        for tag in tags:
            del self.tags[tag]
        self.deletions[deletion] = Deleted(at, tags=tags)
        for digest in digests:
            self.manifests[digest].deletion = deletion
            self.manifests[digest].deleted_at = at

    def hide_package(self, deletion: int, at: int) -> None:
        self.hide(deletion, set(self.live()), at)
        self.hidden, self.hidden_by = True, deletion
        self.uploaded.clear()

    def restorable(self, deletion: int, at: int) -> bool:
        found = self.deletions.get(deletion)
        if found is None or found.at < at - WINDOW:
            return False
        return not self.hidden or self.hidden_by == deletion

    def restore(self, deletion: int) -> set[str]:
        """Undo a deletion; return the tags that cannot come back."""
        if self.hidden_by == deletion:
            self.hidden, self.hidden_by = False, None
        shown = {d for d, held in self.manifests.items() if held.deletion == deletion}
        while shown:
            for digest in shown:
                self.manifests[digest].deletion = None
            below = {child for digest in shown for child in self.manifests[digest].children}
            shown = {child for child in below if not self.manifests[child].live}
        conflicts = set()
        for tag, digest in list(self.deletions[deletion].tags.items()):
            if not self.manifests[digest].live:
                conflicts.add(tag)
                continue
            if self.tags.setdefault(tag, digest) != digest:
                conflicts.add(tag)
            del self.deletions[deletion].tags[tag]
        self._close({deletion})
        return conflicts

    def purge(self, deletion: int) -> None:
        """End the window of a deletion, and remove what it hid at once."""
        self.deletions[deletion].at = PURGED
        for held in self.manifests.values():
            if held.deletion == deletion:
                held.deleted_at = PURGED
        self._expire(PURGED + 1)

    def kept(self) -> set[bytes]:
        """Layers that a manifest names, hidden ones too, and those that wait for one."""
        return {layer for held in self.manifests.values() for layer in held.layers} | set(
            self.uploaded
        )

    def collect(self, at: int) -> None:
        """What gc does by age; the grace of blobs is for whoever looks to judge."""
        self._expire(at - WINDOW)

    def _expire(self, before: int) -> None:
        touched = set()
        while gone := {
            digest
            for digest, held in self.manifests.items()
            if (self._expired(held, before) or self._purged(held)) and not self.parents(digest)
        }:
            touched |= {self.manifests.pop(digest).deletion for digest in gone}
            for found in self.deletions.values():
                found.tags = {tag: d for tag, d in found.tags.items() if d not in gone}
        waiting = [d for d, held in self.manifests.items() if self._expired(held, before)]
        for digest in waiting:
            self.manifests[digest].deleted_at = max(
                parent.deleted_at for parent in self.parents(digest)
            )
        for number, found in self.deletions.items():
            if found.at < before and number not in self._hiding():
                found.tags.clear()
                touched.add(number)
        self._close(touched)

    def _expired(self, held: Held, before: int) -> bool:
        return not held.live and held.deleted_at < before

    def _purged(self, held: Held) -> bool:
        """Whether its deletion was purged, though an index kept it from going then."""
        return held.deletion in self.deletions and self.deletions[held.deletion].at == PURGED

    def _hiding(self) -> set[int | None]:
        return {manifest.deletion for manifest in self.manifests.values()}

    def _close(self, deletions: set[int | None]) -> None:
        """Forget those of `deletions` that hold nothing any more."""
        for number in deletions - self._hiding():
            if number is not None and not self.deletions[number].tags:
                del self.deletions[number]
        if self.hidden_by not in self.deletions:
            self.hidden_by = None
