"""The configuration: one list of keys, four sources, and one clear line for what is wrong."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry.config import Config, ConfigError, load
from tests.registry.configuration import DOCUMENT, EXAMPLE, render_document, render_example


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a configuration file and return its path."""

    def write(text: str) -> Path:
        file = tmp_path / "packhouse.yaml"
        file.write_text(text)
        return file

    return write


def refusal(
    file: Path | None = None,
    environment: dict[str, str] | None = None,
    arguments: dict[str, object] | None = None,
) -> str:
    with pytest.raises(ConfigError) as raised:
        load(file, environment or {}, arguments or {})
    message = str(raised.value)
    assert message.isprintable(), "one line"
    return message


def example_keys() -> dict[str, tuple[str, str]]:
    """By key: the comment above it on one line, and the default as YAML."""
    found = {}
    for block in EXAMPLE.read_text().split("\n\n")[1:]:
        *comments, line = block.strip().splitlines()
        key, _, value = line.removeprefix("#").partition(": ")
        found[key] = (" ".join(text.removeprefix("# ") for text in comments), value)
    return found


@pytest.mark.parametrize("file", [EXAMPLE, DOCUMENT], ids=lambda file: file.name)
def test_what_is_written_from_the_keys_is_up_to_date(file: Path) -> None:
    rendered = {EXAMPLE: render_example, DOCUMENT: render_document}[file]()
    assert file.read_text() == rendered, f"{file.name} is stale: run 'make docs' and commit it"


def test_the_document_tells_every_key_with_what_it_accepts() -> None:
    sections = DOCUMENT.read_text().split("\n## ")[1:]
    assert [text.split("`")[1] for text in sections] == [key.name for key in fields(Config)]
    (port,) = [text for text in sections if text.startswith("`port`")]
    for line in ("- Unit: port", "- Default: `5000`", "- Environment: `PACKHOUSE_PORT`"):
        assert line in port.splitlines()
    assert "- Accepts: a whole number from 0 to 65535" in port.splitlines()


def test_the_example_has_every_key_in_order_and_no_other() -> None:
    assert list(example_keys()) == [key.name for key in fields(Config)]


@pytest.mark.parametrize("key", fields(Config), ids=lambda key: key.name)
def test_the_example_says_meaning_unit_and_default_of_a_key(key: object) -> None:
    name, about, unit = key.name, key.metadata["about"], key.metadata["unit"]  # type: ignore[attr-defined]
    comment, default = example_keys()[name]
    assert comment == f"{about} Unit: {unit}."
    assert load(None, {}, {name: yaml.safe_load(default)}) == Config()


def test_the_example_is_a_configuration_as_it_stands_and_with_every_key_taken_in(
    write: Callable[[str], Path],
) -> None:
    assert load(EXAMPLE, {}, {}) == Config()
    text = re.sub(r"^#(?=[a-z_]+:)", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    assert set(yaml.safe_load(text)) == {key.name for key in fields(Config)}
    assert load(write(text), {}, {}) == Config()


def test_later_sources_win(write: Callable[[str], Path]) -> None:
    file = write("port: 1\nworkers: 1\nlog_level: error\n")
    environment = {"PACKHOUSE_PORT": "2", "PACKHOUSE_WORKERS": "2", "PATH": "/bin"}
    loaded = load(file, environment, {"port": "3", "workers": None})
    assert (loaded.port, loaded.workers, loaded.log_level) == (3, 2, "error")
    assert loaded.host == Config().host


def test_the_variable_that_names_the_file_is_no_key() -> None:
    assert load(None, {"PACKHOUSE_CONFIG": "x"}, {}) == Config()


def test_an_empty_file_changes_nothing(write: Callable[[str], Path]) -> None:
    assert load(write("# nothing\n"), {}, {}) == Config()


def test_lists_come_from_yaml_and_from_text(write: Callable[[str], Path]) -> None:
    assert load(write("host: [0.0.0.0, '::']"), {}, {}).host == ("0.0.0.0", "::")
    assert load(None, {"PACKHOUSE_HOST": "a, ::1"}, {}).host == ("a", "::1")


def test_an_unknown_key_is_named_with_its_file(write: Callable[[str], Path]) -> None:
    file = write("prot: 5001")
    assert refusal(file) == (f"unknown configuration key 'prot' in {file}: see config.example.yaml")
    assert "unknown configuration key 5001" in refusal(write("5001: port"))


def test_an_unknown_variable_is_named_as_it_was_written() -> None:
    assert "unknown environment variable 'PACKHOUSE_PROT'" in refusal(
        environment={"PACKHOUSE_PROT": "1"}
    )
    assert "PACKHOUSE_port" in refusal(environment={"PACKHOUSE_port": "1"})


def test_a_bad_value_is_shown_with_where_it_stands_and_what_to_write(
    write: Callable[[str], Path],
) -> None:
    cure = "write a whole number from 0 to 65535"
    file = write("port: http")
    assert refusal(file) == f"configuration key 'port' in {file} is 'http': {cure}"
    assert refusal(environment={"PACKHOUSE_PORT": "70000"}) == (
        f"environment variable PACKHOUSE_PORT is '70000': {cure}"
    )
    assert refusal(arguments={"port": "-1"}) == f"option --port is '-1': {cure}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", ""),
        ("host", []),
        ("host", "a,,b"),
        ("host", "two words"),
        ("host", [1]),
        ("port", True),
        ("port", 1.5),
        ("port", "²"),
        ("port", "9" * 5000),
        pytest.param("port", 10**5000, id="port-beyond-printing"),
        ("data", ""),
        ("data", 5),
        ("data", "a\0b"),
        ("data", "~nobody-of-that-name/data"),
        ("database", "mysql://localhost/x"),
        ("workers", -1),
        ("public_url", "https://"),
        ("public_url", "packages.example.com"),
        ("public_url", "https://example.com/path"),
        ("public_url", "https://example.com\nX-Evil: 1"),
        ("tls", "cert.pem"),
        ("tls", "cert.pem,"),
        ("tls", "a,b,c"),
        ("bearer_seconds", 0),
        ("manifest_bytes", 1),
        ("log_level", "loud"),
        ("metrics", "9464"),
        ("metrics", "localhost:70000"),
        ("metrics", "::1:9464"),
        ("metrics", "127.0.0.1:9464/metrics"),
        ("tracing", "localhost:4318"),
        ("tracing", "http://"),
        ("tracing", "http://collector:4318/?key=1"),
        ("log_level", ["info"]),
    ],
)
def test_a_value_that_cannot_work_is_refused(key: str, value: object) -> None:
    assert f"option --{key} is " in refusal(arguments={key: value})


def test_a_database_password_is_not_repeated() -> None:
    message = refusal(arguments={"database": "mysql://packhouse:hush@db/packhouse"})
    assert "hush" not in message
    assert "postgresql://" in message


@pytest.mark.parametrize(
    "password",
    ["s3cret/x", "1/s3cret", "s3cr#et", "s3cret?x", "[s3cret", "s3cret@x", "s3cr\u2100et"],
)
def test_a_password_that_ends_the_host_is_refused_and_not_repeated(password: str) -> None:
    """The driver would read `s3cret` as a port, and tell it in a traceback."""
    with pytest.raises(ConfigError, match="in a password as %2F") as refused:
        load(None, {"PACKHOUSE_DATABASE": f"postgresql://u:{password}@h:5432/db"}, {})
    assert "s3cr" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql:///db?host=/run/pg", "postgres://h", "postgresql://u@/db"),
        *("postgresql://u:p%40%2F!$&'()*+,;=:~@h.example:5432/db?sslmode=disable", "postgresql://"),
        *(
            "postgresql://u:p@h1:1,h2:2/db",
            "postgresql://u@[::1]:5432/db",
            "postgres://%2Frun%2Fpg/x",
        ),
    ],
)
def test_what_the_driver_takes_for_a_database_is_taken(url: str) -> None:
    assert load(None, {"PACKHOUSE_DATABASE": url}, {}).database == url


def test_a_collectors_password_is_refused_and_not_repeated() -> None:
    message = refusal(arguments={"tracing": "https://packhouse:hush@collector:4318"})
    assert "hush" not in message
    assert "OTEL_EXPORTER_OTLP_HEADERS" in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert refusal(missing) == f"cannot read {missing}: No such file or directory"
    assert f"cannot read {tmp_path}: " in refusal(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["port: [", "\ta: b", "a: b: c", "port: 2026-13-01", "x: &a [*b]", "[" * 3000, "!!python/x y"],
)
def test_what_is_not_yaml_is_said_to_be_so(write: Callable[[str], Path], text: str) -> None:
    file = write(text)
    assert refusal(file).startswith(f"{file} is not YAML: ")


def test_bytes_that_are_not_text_are_not_yaml(tmp_path: Path) -> None:
    file = tmp_path / "packhouse.yaml"
    file.write_bytes(b"port: \xff\n")
    assert refusal(file).startswith(f"{file} is not YAML: ")


@pytest.mark.parametrize("text", ["just text", "[1, 2]", "5"])
def test_yaml_without_keys_is_refused(write: Callable[[str], Path], text: str) -> None:
    assert "holds no 'key: value' lines" in refusal(write(text))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(SCALARS, inner), max_leaves=5
)


@settings(max_examples=300)
@given(st.sampled_from([key.name for key in fields(Config)]), VALUES)
@example("port", 10**5000)
def test_any_value_is_taken_or_refused_in_one_line(key: str, value: object) -> None:
    try:
        loaded = load(None, {}, {key: value})
    except ConfigError as error:
        message = str(error)
    else:
        message = str(loaded.directory)
    assert message.isprintable()


@settings(max_examples=300)
@given(st.dictionaries(SCALARS, VALUES, max_size=3) | VALUES | st.text().map(repr))
def test_any_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump(value), "utf-8")
    message = ""
    try:
        load(file, {}, {})
    except ConfigError as error:
        message = str(error)
    assert message.isprintable()
