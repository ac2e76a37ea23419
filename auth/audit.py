"""One line of the audit, written in the transaction of the change it tells of.

The table is only ever added to: a test reads every statement, and finds none that changes a row
and one that deletes, by age.
"""

from auth.principals import Principal
from storage.database import Transaction

INSERT_AUDIT = """
insert into audit (at, kind, result, account_id, token_id, owner_id, subject, detail, address,
  request_id, times)
values ($1, $2, 'done', $3, $4, $5, $6, $7, $8, $9, 1)
"""

OPERATOR = Principal(name="operator", kind="operator")
"""Who has the database: the command line writes no account, and no address."""


async def note(
    tx: Transaction,
    who: Principal,
    kind: str,
    owner_id: int | None,
    subject: str,
    at: int,
    detail: str = "",
) -> None:
    """Say that `who` did something to `subject`, which concerns an owner. No secrets."""
    account, token = who.account_id or None, who.token_id or None
    from_where = (who.address, who.request_id)
    await tx.execute(INSERT_AUDIT, at, kind, account, token, owner_id, subject, detail, *from_where)
