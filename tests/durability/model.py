"""What one repository may look like, from what its only writer was told. Pure: no I/O, no clock.

A write that was never answered is a doubt: it happened or it did not, as a whole. So the states a
repository may be in are those of every subset of its doubts, and what is seen must be one of them.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tests.registry.client import (
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    descriptor,
    digest_of,
    image_manifest,
)


@dataclass(frozen=True, slots=True)
class Made:
    """A manifest and what it needs, by digest."""

    data: bytes
    media_type: str
    blobs: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    subject: str = ""

    @property
    def digest(self) -> str:
        return digest_of(self.data)


def image(config: bytes, *layers: bytes, **fields: object) -> Made:
    data = json.dumps(image_manifest(config, *layers, **fields)).encode()
    return Made(data, OCI_MANIFEST, frozenset(map(digest_of, (config, *layers))))


def referrer(subject: Made) -> Made:
    of = {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.data)}
    document = image_manifest(b"{}", artifactType="application/x-note", subject=of)
    document["config"] = descriptor(b"{}", OCI_EMPTY)
    data = json.dumps(document).encode()
    return Made(data, OCI_MANIFEST, frozenset({digest_of(b"{}")}), subject=subject.digest)


def index(*children: Made) -> Made:
    members = [descriptor(child.data, child.media_type) for child in children]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": members}
    data = json.dumps(document).encode()
    return Made(data, OCI_INDEX, children=frozenset(child.digest for child in children))


@dataclass(frozen=True, slots=True)
class Sight:
    """What a repository shows: tags, manifests, blobs, and where uploads stand (None: over)."""

    tags: dict[str, str]
    manifests: frozenset[str]
    blobs: frozenset[str]
    uploads: dict[str, int | None]


@dataclass(slots=True)
class State:
    """What one repository is to look like.

    `loose` blobs wait for their first manifest; those in `fading` have had their grace, or their
    wait is in doubt: they may be there or not, unless a manifest names them.
    """

    tags: dict[str, str] = field(default_factory=dict)
    live: dict[str, Made] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    fading: set[str] = field(default_factory=set)
    uploads: dict[str, int | None] = field(default_factory=dict)

    @property
    def named(self) -> set[str]:
        return {blob for made in self.live.values() for blob in made.blobs}

    def shows(self, sight: Sight) -> bool:
        """Whether this state looks like that."""
        certain = self.named | self.loose
        return (
            self.tags == sight.tags
            and set(self.live) == sight.manifests
            and certain == sight.blobs - (self.fading - certain)
            and self.uploads == sight.uploads
        )

    def is_child(self, digest: str) -> bool:
        return any(digest in made.children for made in self.live.values())

    def copy(self) -> "State":
        return State(
            dict(self.tags),
            dict(self.live),
            set(self.loose),
            set(self.fading),
            dict(self.uploads),
        )

    # What writes do

    def add_blob(self, digest: str) -> None:
        self.loose.add(digest)
        self.fading.discard(digest)

    def delete_blob(self, digest: str) -> None:
        self.loose.discard(digest)
        self.fading.discard(digest)

    def push(self, made: Made, tags: Iterable[str]) -> None:
        self.live[made.digest] = made
        self.loose -= made.blobs
        self.fading -= made.blobs
        self.tags.update(dict.fromkeys(tags, made.digest))

    def delete_tag(self, tag: str) -> None:
        self.tags.pop(tag, None)

    def delete_manifest(self, digest: str) -> None:
        """Hide a manifest, its tags, and untagged children and referrers that no index holds."""
        hidden, added = {digest}, {digest}
        while added:
            held = self._held(hidden)
            found = self._children(added) | self._referrers(added)
            added = found - hidden - held - set(self.tags.values())
            hidden |= added
        for gone in hidden:
            self.live.pop(gone, None)
        self.tags = {name: held for name, held in self.tags.items() if held not in hidden}

    def finish(self, upload: str, digest: str) -> None:
        self.uploads[upload] = None
        self.add_blob(digest)

    def let_time_pass(self) -> None:
        """A grace has passed since the last write."""
        self.fading |= self.loose
        self.loose.clear()

    def _children(self, parents: set[str]) -> set[str]:
        return {child for digest in parents for child in self.live[digest].children}

    def _referrers(self, subjects: set[str]) -> set[str]:
        return {digest for digest, made in self.live.items() if made.subject in subjects}

    def _held(self, hidden: set[str]) -> set[str]:
        """What indexes name that stay."""
        return self._children(set(self.live) - hidden)


Effect = Callable[[State], None]


def after(state: State, effects: Sequence[Effect]) -> State:
    """Return the state after `effects`, leaving the given one alone."""
    found = state.copy()
    for effect in effects:
        effect(found)
    return found


def possible(state: State, doubts: Sequence[Effect]) -> list[State]:
    """Every state that some of the doubts lead to."""
    return [
        after(state, chosen)
        for count in range(len(doubts) + 1)
        for chosen in combinations(doubts, count)
    ]


def settle(state: State, doubts: Sequence[Effect], sight: Sight) -> State:
    """Return the state that is seen; what it leaves open about blobs is fading.

    Raises AssertionError when nothing that can have happened looks like that.
    """
    states = possible(state, doubts)
    found = [each for each in states if each.shows(sight)]
    assert found, f"half of something, or something lost:\n{difference(states, sight)}"
    first = found[0]
    first.loose = set.intersection(*(each.loose for each in found))
    first.fading = set().union(*(each.loose | each.fading for each in found)) - first.loose
    first.uploads = {name: at for name, at in first.uploads.items() if at is not None}
    return first


def difference(states: Sequence[State], sight: Sight) -> str:
    """Say how what is seen differs from each state it might be in."""
    lines = []
    for number, state in enumerate(states):
        certain = state.named | state.loose
        blobs = sight.blobs - (state.fading - certain)
        for what, wanted, seen in (
            ("tags", set(state.tags.items()), set(sight.tags.items())),
            ("manifests", set(state.live), set(sight.manifests)),
            ("blobs", certain, set(blobs)),
            ("uploads", set(state.uploads.items()), set(sight.uploads.items())),
        ):
            if wanted != seen:
                lines.append(f"state {number}: {what} lost {wanted - seen}, extra {seen - wanted}")
    return "\n".join(lines)


@dataclass(slots=True)
class Write:
    """One write to a tag that several clients move; `ended` is None while it is in doubt."""

    value: str | None
    began: int
    ended: int | None = None


@dataclass(slots=True)
class Race:
    """A tag that several clients move at once: which values it may have."""

    writes: list[Write] = field(default_factory=lambda: [Write(None, -1, 0)])
    now: int = 0

    def begin(self, value: str | None) -> Write:
        self.now += 1
        write = Write(value, self.now)
        self.writes.append(write)
        return write

    def end(self, write: Write) -> None:
        self.now += 1
        write.ended = self.now

    def values(self) -> set[str | None]:
        """Values that no acknowledged write has replaced that began after theirs was answered."""
        last = max(write.began for write in self.writes if write.ended is not None)
        return {w.value for w in self.writes if w.ended is None or w.ended > last}

    def settle(self, value: str | None) -> None:
        assert value in self.values(), f"the tag is {value}, not one of {self.values()}"
        self.now += 2
        self.writes = [Write(value, self.now - 1, self.now)]
