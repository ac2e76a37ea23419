"""The table as Markdown, and the page it stands on."""

import re
from pathlib import Path

import pytest

from tests.benchmarks import document
from tests.benchmarks.__main__ import ROWS, build_parser, main
from tests.benchmarks.report import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
OUTCOMES = [
    Outcome("blob-1mb-8", "MB/s", "nginx", 1810.4, 2000, 0.905, 0.7, 0.95, cpu=0.1, cpu_per="GB"),
    Outcome("start", "s", "docker-registry", note="failed: a | b\nc"),
]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    copy = tmp_path / "performance.md"
    copy.write_text(PAGE.read_text())
    return copy


def test_the_table_takes_the_place_of_the_one_before(page: Path) -> None:
    document.write(page, {"processors": 2}, OUTCOMES[1:])
    document.write(page, {"processors": 2, "fsync ms": 1.5}, OUTCOMES)
    before, after = document.split(PAGE)
    text = page.read_text()
    assert text.startswith(before)
    assert text.endswith(after)
    table = text.removeprefix(before).removesuffix(after).splitlines()
    assert table[0] == document.BEGIN
    assert table[1:3] == ["Measured on: processors 2, fsync ms 1.5.", ""]
    assert table[5:] == [
        "| blob-1mb-8 | 1,810 | MB/s | nginx | 2,000 | 0.905 | 0.7 met | 0.95 missed "
        "| 0.1 | - | GB |  |",
        "| start | - | s | docker-registry | - | - |  |  | - | - |  | failed: a / b c |",
        document.END,
    ]
    assert {line.count("|") for line in table[3:-1]} == {13}
    assert [file.name for file in page.parent.iterdir()] == [page.name], "no draft is left"


def test_a_file_without_a_place_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.md"
    file.write_text(f"{document.BEGIN}\nno end\n")
    for name, said in ((file, "has no place for the table"), (tmp_path / "none", "cannot read")):
        monkeypatch.setattr("sys.argv", ["benchmarks", "--markdown", str(name)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
    assert file.read_text() == f"{document.BEGIN}\nno end\n"


def test_the_page_s_table_has_one_line_of_dashes() -> None:
    before, after = document.split(PAGE)
    table = PAGE.read_text().removeprefix(before).removesuffix(after).splitlines()
    [rule] = [number for number, line in enumerate(table) if line.startswith("| ---")]
    assert table[rule - 1].startswith("| row |")


def test_the_page_tells_what_every_row_does() -> None:
    told = re.findall(r"`([a-z0-9-]+?)(?:-N)?`", document.split(PAGE)[1])
    assert {re.sub(r"(?<=^manifest-)(.*)-\d+$", r"\1", row.name) for row in ROWS} == set(told)


def test_the_page_s_commands_are_options_there_are() -> None:
    found = re.findall(r"^python -m tests.benchmarks (.*?)(?:  .*)?$", PAGE.read_text(), re.M)
    assert len(found) == 2
    for line in found:
        build_parser().parse_args(line.split())
