"""The shape of the code: which room may import which, and how large its parts may be."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ["storage", "auth", "registry", "formats"]
"""Each may import itself and those before it."""

TO_BE_SPLIT: set[str] = set()
"""Files over 400 lines: this list only shrinks."""

WIRING = {"registry/app.py", "registry/program.py"}
"""What connects all rooms, and the door that opens on it."""

MODULES = sorted(
    str(file.relative_to(ROOT)) for room in ROOMS for file in (ROOT / room).rglob("*.py")
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text("utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write the whole name: from registry.app import ..."
            yield from (f"{node.module}.{name.name}" for name in node.names)


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def test_every_arrow_points_the_right_way(module: str) -> None:
    if module not in WIRING:
        room = module.partition("/")[0]
        later = set(ROOMS[ROOMS.index(room) + 1 :])
        assert [name for name in imports(tree_of(module)) if name.split(".")[0] in later] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {name.removesuffix(".py").replace("/", "."): name for name in MODULES}
    arrows = {
        name: {each for full in imports(tree_of(file)) for each in (full, full.rpartition(".")[0])}
        & names.keys()
        for name, file in names.items()
    }
    assert len(list(TopologicalSorter(arrows).static_order())) == len(names)


def test_the_core_knows_the_wiring_only_where_it_sits_on_it(module: str) -> None:
    """Who imports registry.app is a command or the command line; nothing else imports those."""
    commands = {"registry.app", "registry.cli"} | {
        name.removesuffix(".py").replace("/", ".") for name in MODULES if sits_on_app(name)
    }
    if module in WIRING or sits_on_app(module):
        return
    found = {name for name in imports(tree_of(module)) if name.startswith("registry.")}
    assert {name for name in found if {name, name.rpartition(".")[0]} & commands} == set()


@cache
def sits_on_app(module: str) -> bool:
    tree = tree_of(module)
    words = ("add_", "build_parser", "run_here")
    registers = any(node.name.startswith(words) for node in functions(tree))
    return registers and any(name.startswith("registry.app.") for name in imports(tree))


def test_a_file_holds_one_idea(module: str) -> None:
    lines = len((ROOT / module).read_text("utf-8").splitlines())
    assert (lines > 400) == (module in TO_BE_SPLIT), f"{lines} lines"


def test_a_function_does_one_step(module: str) -> None:
    sizes = {
        node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions(tree_of(module))
    }
    assert {name: size for name, size in sizes.items() if size > 40} == {}


def test_a_module_and_its_public_functions_and_classes_say_what_they_are(module: str) -> None:
    tree = tree_of(module)
    assert ast.get_docstring(tree), "a module begins with one sentence"
    public = [
        node
        for node in tree.body
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_the_environment_is_read_in_one_place(module: str) -> None:
    if module != "registry/config.py":
        names = {node.attr for node in ast.walk(tree_of(module)) if isinstance(node, ast.Attribute)}
        assert not names & {"environ", "getenv"}


def test_all_rooms_are_walked() -> None:
    assert {"storage/names.py", "auth/jwt.py", "registry/app.py", "formats/__init__.py"} <= set(
        MODULES
    )
