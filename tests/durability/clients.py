"""Clients of a registry that may be killed at any moment: one operation after the other, by chance.

After a broken connection a client looks what has become of its write, resumes its uploads, and does
the operation again.
"""

from collections.abc import Callable
from functools import partial

from tests.durability.model import Made, image, index, referrer
from tests.durability.operations import Interrupted, Operation, Operations
from tests.registry.client import digest_of

WAYS = ("whole", "put", "streamed", "streamed", "chunked", "chunked", "mounted", "mounted")


class Client(Operations):
    """Chooses what to do next; a seed makes the same choices again."""

    async def work(self, over: Callable[[], bool]) -> None:
        """Do operations until `over`, getting over every broken connection."""
        while not over():
            try:
                await self.step()
            except Interrupted:
                self._shared.count("interrupted")

    async def step(self) -> None:
        """Find out what became of the doubts, then do the pending operation or a new one."""
        if self.doubts or self._open():
            await self.recover()
        if self.pending is None:
            self.pending = self._choose()
        await self.pending()
        self.pending = None
        self._shared.count("operations")

    async def finish_pending(self) -> None:
        """Do again what was interrupted: it must succeed."""
        if self.pending is not None:
            await self.pending()
            self.pending = None
            self._shared.count("repeated")

    def let_time_pass(self) -> None:
        self.state.let_time_pass()

    # Choosing

    def _choose(self) -> Operation:
        chosen = self._rng.choices(
            [
                self._choose_push,
                self._choose_move,
                self._choose_index,
                self._choose_referrer,
                self._choose_tag_delete,
                self._choose_manifest_delete,
                self._choose_blob,
                self._choose_blob_delete,
                self._choose_cancel,
                self._choose_race,
            ],
            [8, 3, 2, 1, 2, 3 if len(self.state.live) < 12 else 9, 2, 1, 1, 3],
        )[0]
        return chosen()

    def _choose_push(self) -> Operation:
        layers = self._rng.sample(self._shared.layers, self._rng.randint(1, 3))
        config = f"config {self._name} {self._rng.randrange(8)}".encode()
        blobs = [(data, self._rng.choice(WAYS)) for data in (config, *layers)]
        unchecked = self._rng.random() < 0.2
        tags = self._tags(self._rng.choice([0, 1, 1, 1, 2]))
        return partial(self._push, blobs, image(config, *layers), tags, unchecked)

    def _choose_move(self) -> Operation:
        if not self.state.live:
            return self._choose_push()
        made = self.state.live[self._any(self.state.live)]
        return partial(self._put_manifest, made, self._tags(1))

    def _choose_index(self) -> Operation:
        images = [d for d, made in self.state.live.items() if made.blobs]
        if len(images) < 2:
            return self._choose_push()
        children = [self.state.live[d] for d in self._rng.sample(sorted(images), 2)]
        return partial(self._put_manifest, index(*children), self._tags(1))

    def _choose_referrer(self) -> Operation:
        if not self.state.live:
            return self._choose_push()
        made = referrer(self.state.live[self._any(self.state.live)])
        return partial(self._push, [(b"{}", "whole")], made, [], False)

    def _choose_tag_delete(self) -> Operation:
        return partial(self._delete_tag, *self._tags(1))

    def _choose_manifest_delete(self) -> Operation:
        if not self.state.live:
            return self._choose_push()
        return partial(self._delete_manifest, self._any(self.state.live))

    def _choose_blob(self) -> Operation:
        data = self._rng.choice(self._shared.layers)
        return partial(self._upload, data, self._rng.choice(WAYS))

    def _choose_blob_delete(self) -> Operation:
        return partial(self._delete_blob, digest_of(self._rng.choice(self._shared.layers)))

    def _choose_cancel(self) -> Operation:
        return partial(self._cancel, self._rng.choice(self._shared.layers))

    def _choose_race(self) -> Operation:
        if self._rng.random() < 0.2:
            return self._race_delete
        layer = self._rng.choice(self._shared.layers[:3])
        made = image(b"shared", layer, annotations={"n": f"{self._name} {self._rng.random()}"})
        return partial(self._race_push, layer, made)

    def _tags(self, count: int) -> list[str]:
        return self._rng.sample([f"v{number}" for number in range(6)], count)

    def _any(self, digests: dict[str, Made]) -> str:
        return self._rng.choice(sorted(digests))
