"""What schemathesis may not do: shut itself out, as the account and the token it works with."""

import os

import schemathesis

OWN_NAME = "SCHEMATHESIS_NAME"
OWN_TOKEN = "SCHEMATHESIS_TOKEN"
"""Environment variables: the user it signs in as, and the id of its token."""


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Leave out what names its own account, or its own token."""
    named = {str(value) for value in (case.path_parameters or {}).values()}
    ends_tokens = case.operation.path == "/api/v1/tokens/{id}"
    return os.environ[OWN_NAME] not in named and not (
        ends_tokens and os.environ[OWN_TOKEN] in named
    )
