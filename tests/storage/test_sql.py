"""Every SQL statement of the code, prepared on both engines and read for what only one of them has.

A statement is a module-level constant in capitals that begins with select, insert, update, delete
or with. One that must read a whole table says why in a comment above it: `# scan: reason`.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

import asyncpg
import pytest

from storage import migrations
from storage.postgres import PostgresDatabase

ROOMS = "storage", "auth", "registry", "formats"
PARAMETERS = dict.fromkeys(map(str, range(1, 100)))

FORBIDDEN = {
    r"::": "write cast(x as type)",
    r"\b(i?like|glob|regexp|similar to)\b": "use a folded column and a range",
    r"\b(now|datetime|strftime|julianday|unixepoch|clock_timestamp|date_part|extract) ?\(": (
        "pass the time as a parameter"
    ),
    r"\bcurrent_(timestamp|time|date)\b": "pass the time as a parameter",
    r"\binsert or\b|\breplace into\b": "write on conflict (...)",
    r"\bon conflict (do update|on constraint)\b": "name the columns of the conflict",
    r"\b(any|all|some) ?\(": "write in (select value from json_each(cast($1 as text)))",
    r"\bin \( ?\$": "write in (select value from json_each(cast($1 as text)))",
    r"\b(true|false|boolean)\b": "compare a smallint with = 1",
    r"\breturning \*": "name the columns",
    r"\bfor (update|share|no key update|key share)\b|\bskip locked\b": "update the row first",
    r"->|#>|@>|\bjsonb?_(?!each\b)\w+|\bjson_extract\b": "JSON is never queried",
    r"\b(tsvector|to_tsquery|to_tsvector|match)\b": "use search terms in a table",
    r"\b(group_concat|string_agg|array_agg|greatest|least|iif|ifnull|isnull|nvl|instr|strpos)\b": (
        "only one engine has it; compute it in Python"
    ),
    r"\b(rowid|last_insert_rowid|lastval|nextval|currval)\b": "write returning id",
    r"\blimit null\b": "leave the limit out",
    r"\bcast ?\([^()]* as (?!bigint\b|smallint\b|text\b)": "cast to bigint, smallint or text",
    r"\bas (not )?(materialized )?\( ?(insert|update|delete)\b": "SQLite has no writable CTE",
    r"\?|%s|(?<![:\w]):[a-z]": "parameters are $1, $2",
    r";": "one statement, without a semicolon",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One constant: where it stands, its text, and the reason it may scan."""

    name: str
    sql: str
    scan_reason: str | None

    def __str__(self) -> str:
        return self.name


def statements() -> Iterator[Statement]:
    for module in modules():
        yield from statements_of(inspect.getsource(module), vars(module), module.__name__)


def modules() -> Iterator[ModuleType]:
    for room in ROOMS:
        package = importlib.import_module(room)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{room}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def statements_of(source: str, values: Mapping[str, object], module: str) -> Iterator[Statement]:
    lines = source.splitlines()
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            value = values.get(target.id) if isinstance(target, ast.Name) else None
            if isinstance(target, ast.Name) and target.id.isupper() and is_sql(value):
                reason = scan_reason(lines[: node.lineno - 1])
                yield Statement(f"{module}.{target.id}", str(value), reason)


def is_sql(value: object) -> bool:
    beginning = r"\s*(select|insert|update|delete|with)\s"
    return isinstance(value, str) and re.match(beginning, value, re.IGNORECASE) is not None


def scan_reason(lines_above: list[str]) -> str | None:
    for line in reversed(lines_above):
        if not line.startswith("#"):
            return None
        if found := re.match(r"# scan: (\S.*)", line):
            return found[1]
    return None


def plain(sql: str) -> str:
    """The statement in lower case and on one line, without comments and the insides of text."""
    sql = re.sub(r"'(?:[^']|'')*'", "''", sql)
    sql = re.sub(r"--[^\n]*", "", sql)
    return " ".join(sql.lower().split())


def lint(sql: str) -> list[str]:
    text = plain(sql)
    return [
        f"{found[0]!r}: {cure}"
        for pattern, cure in FORBIDDEN.items()
        if (found := re.search(pattern, text))
    ]


def full_scans(connection: sqlite3.Connection, sql: str) -> list[str]:
    """The steps of the plan that read a whole table, or build an index of it each time."""
    tables = {row[0] for row in connection.execute("select name from sqlite_schema")}
    plan = [row[3] for row in connection.execute(f"explain query plan {sql}", PARAMETERS)]
    return [
        step
        for step in plan
        if (found := re.match(r"(SCAN|SEARCH) (\w+)", step))
        and ("USING" not in step if found[1] == "SCAN" else "AUTOMATIC" in step)
        and "VIRTUAL TABLE" not in step
        and table_named(found[2], plain(sql)) in tables
    ]


def table_named(name: str, text: str) -> str | None:
    """What a plan's name stands for: itself, or the table it is an alias of; None for a CTE."""
    ctes = re.findall(
        r"(?:\bwith|,|\brecursive) (\w+) ?(?:\([^()]*\) )?as (?:materialized )?\(", text
    )
    alias = re.search(rf"(?:\bfrom|\bjoin|,|\binto|\bupdate) (\w+) (?:as )?{name.lower()}\b", text)
    table = name
    if alias and alias[1] not in {"from", "join", "select", "update"}:
        table = alias[1]
    return None if table in ctes else table


STATEMENTS = list(statements())


@pytest.fixture(scope="module")
def sqlite_schema() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute(migrations.CREATE_SCHEMA)
    for _, sql in migrations.load():
        for statement in migrations.render(sql, "sqlite"):
            connection.execute(statement)
    yield connection
    connection.close()


def test_statements_are_found() -> None:
    found = {statement.name: statement for statement in STATEMENTS}
    assert found["storage.migrations.SELECT_SCHEMA"].scan_reason == "the table has one row"
    assert found["storage.migrations.INSERT_SCHEMA"].scan_reason is None


@pytest.mark.parametrize("statement", STATEMENTS, ids=str)
def test_a_statement_is_written_for_both_engines(statement: Statement) -> None:
    assert lint(statement.sql) == []


@pytest.mark.parametrize("statement", STATEMENTS, ids=str)
def test_sqlite_prepares_a_statement_and_reads_no_whole_table(
    statement: Statement, sqlite_schema: sqlite3.Connection
) -> None:
    scans = full_scans(sqlite_schema, statement.sql)
    assert statement.scan_reason or scans == [], "add an index, or `# scan: reason` above it"


async def test_postgresql_prepares_every_statement(postgres_url: str) -> None:
    async with await PostgresDatabase.open(postgres_url) as database:
        await database.migrate(migrations.load())
    connection = await asyncpg.connect(postgres_url)
    try:
        problems = [p for s in STATEMENTS for p in await postgres_problems(connection, s)]
    finally:
        await connection.close()
    assert problems == []


async def postgres_problems(connection: "asyncpg.Connection", statement: Statement) -> list[str]:
    """Why PostgreSQL refuses the statement, or answers with other types than SQLite would."""
    try:
        prepared = await connection.prepare(statement.sql)
    except asyncpg.PostgresError as error:
        return [f"{statement}: {error}"]
    takes = [parameter.name for parameter in prepared.get_parameters()]
    gives = {attribute.name: attribute.type.name for attribute in prepared.get_attributes()}
    return [
        f"{statement}: ${number} is {kind}: cast it to bigint, smallint, text or use a column"
        for number, kind in enumerate(takes, 1)
        if kind not in {"int8", "int2", "text", "bytea"}
    ] + [
        f"{statement}: column {name} is {kind}: cast it to bigint, smallint or text"
        for name, kind in gives.items()
        if kind not in {"int8", "int4", "int2", "text", "bytea"}
    ]


BAD = """
select $1::bigint | select a from t where b like $1 | select a from t where b ILIKE 'x'
select now() | select a from t where b not similar to 'x' | insert or replace into t (a) values ($1)
select a from t where b < current_timestamp | insert or ignore into t (a) values ($1) | select ?
insert into t (a) values (1) on conflict do update set a = 1 | select a from t where b = any($1)
select a from t where b in ($1, $2) | update t set a = true | select a from t where b = FALSE
insert into t (a) values ($1) returning * | select a from t for update | select a -> 'b' from t
select json_extract(a, '$.b') from t | select a from t where t match $1 | select ifnull(a, b) from t
select string_agg(a, ',') from t | select rowid from t | select a from t limit null
select cast($1 as integer) | with x as (delete from t returning a) select a from x | select 1;
select a from t where b = :name | select a from t where b = %s | select datetime('now')
"""


@pytest.mark.parametrize("sql", [part.strip() for part in re.split(r"[|\n]", BAD) if part.strip()])
def test_the_lint_refuses_what_only_one_engine_understands(sql: str) -> None:
    assert lint(sql) != []


def test_the_lint_reads_neither_text_nor_comments() -> None:
    sql = """select count(*) as n, cast($1 as text) as a, max(b) as b -- like now()
             from t where c = 'any(true); ::' and likes = 1 and update_at > $2
             and d in (select cast(value as bigint) from json_each(cast($3 as text)))"""
    assert lint(sql) == []


@pytest.fixture
def small() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        """create table t (id integer primary key, a text unique, b bigint);
           create table u (t_id bigint, k text, primary key (t_id, k)) without rowid"""
    )
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "select b from t",
        "select x.a from t x where x.b = $1",
        "select x.a from t as x where x.b = $1",
        "update t set b = $1 where b = $2",
        "delete from t where b = $1",
        "select y.a from u join t y on y.b = u.t_id where u.t_id = $1",
        "with c as (select b from t where b = $1) select b from c",
        "select x.k from u x where x.k = $1",
        "select id from t where id in (select t_id from u where k = $1)",
        "select t.a from t join t as other on other.b = t.b where t.id < $1",
    ],
)
def test_a_whole_table_is_a_finding(small: sqlite3.Connection, sql: str) -> None:
    assert full_scans(small, sql) != []


@pytest.mark.parametrize(
    "sql",
    [
        "select b from t where id = $1",
        "select x.b from t x where x.a > $1 order by x.a limit 10",
        "select id from t where a in (select value from json_each(cast($1 as text)))",
        "with c (b) as (select b from t where id = $1) select b from c",
        "select s.b from (select b from t where id = $1 union all select 2) as s",
        "select count(a) as n from t",
        "insert into t (a) select value from json_each(cast($1 as text))",
    ],
)
def test_an_index_a_list_or_a_subquery_is_none(small: sqlite3.Connection, sql: str) -> None:
    assert full_scans(small, sql) == []


def test_a_scan_needs_its_reason_directly_above() -> None:
    source = """
# scan: a
# b
A = "select a from t"
B: str = "select b from t"
# scan:
C = "select c from t"
d = "select d from t"
D = "delegated"
"""
    values = {"A": "select a", "B": "select b", "C": "select c", "d": "select d", "D": "delegated"}
    found = [(s.name, s.scan_reason) for s in statements_of(source, values, "m")]
    assert found == [("m.A", "a"), ("m.B", None), ("m.C", None)]
