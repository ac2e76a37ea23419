"""A route outside /v2, which says what it does or why it is open to all."""

from typing import Any

from starlette.routing import Route

from auth.principals import Action


class SiteRoute(Route):
    """A route that declares the action it asks permission for, or why it asks for none.

    Where every caller is let in, `open_because` says what keeps that harmless. A test walks the
    routes of the application, and fails for one that is not of this kind.
    """

    def __init__(
        self,
        path: str,
        endpoint: Any,
        *,
        action: Action | None = None,
        open_because: str = "",
        methods: tuple[str, ...] = ("GET",),
    ) -> None:
        if (action is None) == (open_because == ""):
            raise ValueError(f"{path} declares an action, or why it is open to all: one of them")
        super().__init__(path, endpoint, methods=list(methods))
        self.action = action
        self.open_because = open_because
