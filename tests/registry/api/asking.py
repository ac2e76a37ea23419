"""What tests of the API say over and over."""

from typing import Any

import httpx


def problem(response: httpx.Response, status: int, code: str, *words: str) -> dict[str, Any]:
    """Check a problem document; return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    assert set(said) == {"type", "title", "status", "code", "detail", "request_id"}
    assert (said["status"], said["code"]) == (status, code)
    assert said["request_id"] == response.headers["x-request-id"]
    for word in words:
        assert word in said["detail"]
    assert "Traceback" not in response.text
    return said
