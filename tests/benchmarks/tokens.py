"""The way into any registry: follow its challenge to a Bearer token, as a client would.

Reading list: distribution's docs/content/spec/auth/token.md.
"""

import base64
import re
import ssl
from pathlib import Path

import httpx

PATIENCE_SECONDS = 30


def authorization(
    url: str, credentials: tuple[str, str] | None, repository: str, certificate: Path | None
) -> dict[str, str]:
    """Return the Authorization header for pull and push of a repository, if one is wanted.

    Raises httpx.HTTPStatusError when the credentials are refused.
    """
    trust = ssl.create_default_context(cafile=certificate) if certificate else True
    with httpx.Client(timeout=PATIENCE_SECONDS, verify=trust) as client:
        asked = client.get(f"{url}/v2/{repository}/tags/list", params={"n": 1})
        if asked.status_code != 401:
            return {}
        scheme, parameters = parse_challenge(asked.headers.get("www-authenticate", ""))
        if scheme == "basic":
            pair = ":".join(credentials or ("", "")).encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        query = {
            "service": parameters.get("service", ""),
            "scope": f"repository:{repository}:pull,push",
        }
        answer = client.get(parameters["realm"], params=query, auth=credentials)
        answer.raise_for_status()
        document = answer.json()
        return {"Authorization": f"Bearer {document.get('token') or document['access_token']}"}


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Return a challenge's scheme in lower case, and its parameters."""
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), dict(re.findall(r'(\w+)="([^"]*)"', rest))
