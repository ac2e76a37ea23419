"""Under which URLs this server is asked for documents, as their readers write them.

Where no `public_url` is configured a document names whatever host a request came with, and anybody
can make up hosts. The few that most requests come with are known: documents are kept for those.
"""

MOST = 16
ENOUGH = 8
TOP = 1000


class Bases:
    """Counts requests by base in a table of MOST (Misra and Gries, 1982).

    A base that is not in a full table takes one from each that is. So what comes with more than a
    MOSTth of the requests is there, however many others come with the rest.
    """

    def __init__(self, configured: str = "") -> None:
        self._configured = configured
        self._counts: dict[str, int] = {}

    def known(self, base: str) -> bool:
        """Count a request, and return whether enough came with this base before."""
        if self._configured:
            return True
        count = self._counts.get(base, 0)
        if count or len(self._counts) < MOST:
            self._counts[base] = min(count + 1, TOP)
        else:
            self._counts = {other: n - 1 for other, n in self._counts.items() if n > 1}
        return count >= ENOUGH
