"""The headers of a request, found by name without walking all of them each time."""

from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from storage.errors import Invalid


class IndexedHeaders(Headers):
    """Starlette's headers; of a name that came twice `get` returns the first, as theirs does."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._index: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in reversed(scope["headers"])
        }

    def require_one(self, name: str) -> None:
        """Refuse a header that came twice: a proxy may have judged the other. Raises Invalid."""
        if len(self._index) < len(self.raw) and len(self.getlist(name)) > 1:
            raise Invalid(f"the header {name} came twice: send one")

    def __getitem__(self, key: str) -> str:
        return self._index[key.lower()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._index

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a header, or `default`."""
        return self._index.get(key.lower(), default)
