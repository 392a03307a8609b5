"""The house rules, read from the syntax tree: who may import whom, who alone owns what, how long, how named, how told.

A new module needs a row in LAYERS (and a line in README, "How it is built"); nothing is allowed by default.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dtcxen_soap"

WORDS = (
    "errors", "vps", "logfields", "access", "accountfacts", "upgradefacts", "perffacts", "osfacts", "imagefacts", "firstbootfacts", "lookfacts", "movewords",
    "movefacts", "facts", "machinefacts", "settings", "onestep", "imagesteps", "movesteps", "quotasteps", "plans", "planprint", "undorecords", "hostfacts", "answers",
    "valuetypes", "requests", "calls")
"""In this order: a word imports only earlier ones."""

LAYERS = {
    "words": WORDS,
    "pure": ("lvm", "stores", "imagefiles", "volumes", "disks", "configfile", "firstboot", "cloudseed", "seeddisk", "fsck", "hvm", "bsd", "rollback", "rescueseed",
             "rescue", "rescuesystem", "arrival", "migration", "diskimages", "partitions", "pack", "ovm", "reports", "perfdata", "power", "isoquota",
             "accounts", "hooks", "hostsetup", "interfaces", "hostplan", "xen", "guestnet", "install", "upgrade"),
    "edge": ("output", "confine", "processes", "mounts", "logicalvolumes", "nodefiles", "nodelock", "goldenimages", "accountfiles", "projectquota", "tree", "treecopy",
             "shadow", "sparsefiles", "tarballs", "imagemounts", "staging", "packing",
             "hostkeys", "ramdisk", "claims", "terminals", "qmp",
             "dom0", "passwords", "certificates", "joblog", "journal", "servicemanager", "journald", "ping", "domus", "consoles", "bootwatch",
             "blocks", "movepipe", "movepeer", "moving", "survey", "sampler"),
    "engine": ("actions", "execute", "recover", "workers", "jobs"),
    "catalogue": ("operations",),
    "shells": ("wire", "daemonlog", "daemon", "receiver", "cli", "__main__"),
}
MAY_IMPORT = {
    "words": {"words"},
    "pure": {"words", "pure"},
    "edge": {"words", "edge"},
    "engine": {"words", "edge", "engine"},
    "catalogue": {"words", "pure"},
    "shells": set(LAYERS),
}
REACHES_ACROSS = {"install.reinstall", "install.byhand", "install.rootdisk", "install.network",
                  "install.firstboot", "install.clouddata", "install.appliance", "accounts", "disks", "stores", "volumes", "power", "fsck",
                  "configfile", "cloudseed", "seeddisk", "hvm", "bsd", "rollback", "rescue", "rescuesystem", "pack", "ovm", "arrival", "migration", "hostplan", "upgrade.owners",
                  "upgrade.machine"}
"""Planners that compose those of other packages."""
READS_PARSERS = {"survey", "sampler", "logicalvolumes", "domus", "consoles", "bootwatch", "imagemounts", "staging", "packing", "moving"}
"""Rooms of the edge that use a tool's pure half: its command lines, and what its answers say."""

OWNERS = {
    "subprocess": ("processes",),
    "pty": (),
    "pickle": (),
    "marshal": (),
    "shelve": (),
    "multiprocessing": (),
    "ctypes": ("confine", "mounts", "goldenimages", "tree", "treecopy", "processes"),
    "signal": ("processes", "confine", "daemon", "cli"),
    "sqlite3": ("journal",),
    "threading": ("workers", "jobs", "journal", "receiver"),
    "concurrent": ("jobs", "goldenimages", "hostkeys", "wire", "daemon"),
    "asyncio": (),
    "socket": ("ping", "qmp", "servicemanager", "journald", "daemon"),
    "ssl": ("cli",),
    "spyne": ("wire",),
    "lxml": ("wire",),
    "twisted": ("wire", "daemon", "daemonlog"),
    "zope": ("wire", "daemon"),
    "OpenSSL": ("wire", "daemon"),
    "cryptography": ("certificates",),
    "passlib": ("passwords", "wire.auth", "wire.htpasswd"),
    "bcrypt": (),
    "prometheus_client": ("wire",),
    "zeep": ("cli",),
    "requests": ("cli",),
    "argparse": ("cli",),
    "rich": ("cli",),
}
"""Outside modules that only these rooms may import; a package stands for all its modules."""

WIRE_TWISTED = ("twisted.web", "twisted.internet", "twisted.python")
BANNED_NAMES = re.compile(r"(^|_)(util|helper|common|manager|handler|misc|base)s?$")
LONGEST_FILE, LONGEST_FUNCTION = 500, 60
CATCH_ALL_ROOMS = ("execute", "jobs", "recover", "wire", "daemon", "cli")
"""Where a defect must not end the daemon: it is logged in full there, and told as a failure."""

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py" and "data" not in path.relative_to(PACKAGE).parts}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def room(module: str) -> str:
    """The module's name in the tables: its package, or itself."""
    return module.partition(".")[0]


def layer(module: str) -> str:
    """The layer of a module; KeyError for one that has no row."""
    return {name: layer for layer, names in LAYERS.items() for name in names}[room(module)]


def owned(module: str, owners: tuple[str, ...]) -> bool:
    return room(module) in owners or module in owners


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Every module that is imported, wherever in the file, as full dotted names."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: a relative import"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def inside(module: str) -> Iterator[tuple[str, int]]:
    """Imports of our own modules, without the dtcxen_soap in front and the name behind."""
    for name, line in imports(module):
        if name.startswith("dtcxen_soap."):
            short = name.removeprefix("dtcxen_soap.")
            while short and short not in MODULES:
                short = short.rpartition(".")[0]
            if short:
                yield short, line


def only_for_types(module: str) -> set[int]:
    """Lines below `if TYPE_CHECKING:`, which nothing runs: steps hold steps, wherever each kind is written down."""
    blocks = (node for node in ast.walk(TREES[module]) if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
    return {node.lineno for block in blocks for node in block.body}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_room_and_imports_only_what_lies_below(module: str) -> None:
    assert room(module) in {name for names in LAYERS.values() for name in names}, f"{module} has no row in LAYERS"
    wrong = []
    for other, line in inside(module):
        allowed = layer(other) in MAY_IMPORT[layer(module)]
        if layer(module) == layer(other) == "words":
            allowed = WORDS.index(other) < WORDS.index(module) or line in only_for_types(module)
        elif layer(module) == layer(other) == "pure":
            allowed = room(other) == room(module) or module in REACHES_ACROSS
        elif room(module) in READS_PARSERS and layer(other) == "pure":
            allowed = True
        if not allowed:
            wrong.append(f"{MODULES[module].relative_to(ROOT)}:{line}: {module} ({layer(module)}) imports {other} ({layer(other)})")
    assert not wrong, "\n".join(wrong)


def test_shells_stand_beside_each_other_in_one_order() -> None:
    order = LAYERS["shells"]
    for module in MODULES:
        if layer(module) == "shells":
            for other, line in inside(module):
                if layer(other) == "shells":
                    assert order.index(room(other)) <= order.index(room(module)), f"{module}:{line} imports {other}"


@pytest.mark.parametrize("module", MODULES)
def test_outside_modules_are_imported_by_their_owners_only(module: str) -> None:
    wrong = []
    for name, line in imports(module):
        first = name.partition(".")[0]
        if first in OWNERS and not owned(module, OWNERS[first]):
            wrong.append(f"{module}:{line} imports {name}: that is for {', '.join(OWNERS[first]) or 'nobody'}")
        if first == "twisted" and room(module) == "wire" and not name.startswith(WIRE_TWISTED):
            wrong.append(f"{module}:{line} imports {name}: the wire's part of twisted is {', '.join(WIRE_TWISTED)}")
        if first not in (*OWNERS, "dtcxen_soap", "__future__") and first not in sys.stdlib_module_names:
            wrong.append(f"{module}:{line} imports {name}: a dependency without an owner")
        if layer(module) in ("words", "pure") and first in ("os", "shutil", "pathlib", "time", "tempfile", "glob", "random", "secrets"):
            wrong.append(f"{module}:{line} imports {name}: no I/O, clock or chance below the edge")
    assert not wrong, "\n".join(wrong)


def called(node: ast.Call) -> str:
    """The dotted name of what is called; "" for anything else than names."""
    parts, target = [], node.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    return ".".join([target.id, *reversed(parts)]) if isinstance(target, ast.Name) else ""


FORBIDDEN_CALLS = {
    "print": ("cli",),
    "input": ("cli",),
    "open": ("nodefiles", "accountfiles", "confine", "joblog", "journal", "mounts", "tarballs", "sparsefiles", "ramdisk", "tree", "treecopy", "shadow", "processes", "wire",
             "daemon", "cli"),
    "sys.exit": ("cli", "daemon", "wire", "__main__", "confine"),
    "os._exit": ("confine",),
    "os.chown": ("tree", "treecopy", "shadow", "nodefiles", "confine"),
    "os.fchown": ("tree", "treecopy", "shadow", "nodefiles", "accountfiles"),
    "os.lchown": ("tree", "treecopy"),
    "os.kill": ("processes", "confine"),
    "os.killpg": ("processes", "confine"),
    "os.fork": ("confine",),
    "os.system": (),
    "os.popen": (),
    "os.putenv": (),
    "eval": (),
    "exec": (),
    "breakpoint": (),
    "compile": (),
    "pickle.loads": (),
    "datetime.now": ("execute", "journal", "goldenimages", "survey", "jobs", "joblog", "certificates", "wire", "daemon", "cli"),
    "datetime.utcnow": (),
}


@pytest.mark.parametrize("module", MODULES)
def test_calls_that_only_their_owners_may_make(module: str) -> None:
    wrong = []
    for node in ast.walk(TREES[module]):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        if name in FORBIDDEN_CALLS and not owned(module, FORBIDDEN_CALLS[name]):
            wrong.append(f"{module}:{node.lineno}: {name}(): that is for {', '.join(FORBIDDEN_CALLS[name]) or 'nobody'}")
        wrong += [f"{module}:{node.lineno}: shell=" for keyword in node.keywords if keyword.arg == "shell"]
    assert not wrong, "\n".join(wrong)


def _broad(kind: ast.expr | None) -> bool:
    names = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(name is None or (isinstance(name, ast.Name) and name.id in ("Exception", "BaseException")) for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_no_catch_all_that_goes_on(module: str) -> None:
    wrong = []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ExceptHandler) and _broad(node.type) and not owned(module, CATCH_ALL_ROOMS):
            raises = any(isinstance(inner, ast.Raise) for statement in node.body for inner in ast.walk(statement))
            if not raises:
                wrong.append(f"{module}:{node.lineno}: catches everything and goes on")
        if isinstance(node, ast.Call) and called(node).endswith("suppress") and any(_broad(argument) for argument in node.args):
            wrong.append(f"{module}:{node.lineno}: suppresses everything")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", MODULES)
def test_names_say_what_a_module_is(module: str) -> None:
    assert not BANNED_NAMES.search(module.rpartition(".")[2]), "such a name says nothing: split it by noun"


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_stay_short(module: str) -> None:
    lines = MODULES[module].read_text().count("\n")
    assert lines <= LONGEST_FILE, f"{lines} lines: split it by noun"
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{module}:{node.lineno}: {node.name} has {length} lines"


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_public_names_say_why_they_exist(module: str) -> None:
    tree = TREES[module]
    if MODULES[module].name == "__init__.py" and not tree.body:
        return
    assert ast.get_docstring(tree), f"{module} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}:{node.lineno}: {node.name} has no docstring"


@pytest.mark.parametrize("package", sorted({path.parent for path in MODULES.values()} - {PACKAGE}), ids=lambda path: path.name)
def test_package_files_hold_a_docstring_and_nothing_else(package: Path) -> None:
    assert [type(node).__name__ for node in ast.parse((package / "__init__.py").read_text()).body] in ([], ["Expr"])


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_left_for_later(module: str) -> None:
    text = MODULES[module].read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
    for node in ast.walk(TREES[module]):
        assert not (isinstance(node, ast.Name) and node.id == "NotImplementedError"), f"{module}:{node.lineno}: not implemented"


def test_readme_draws_every_module() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## How it is built")[2]
    missing = [name for name, path in MODULES.items() if path.name != "__init__.py" and not re.search(rf"\b{path.name}\b", section)]
    assert not missing, f"README, 'How it is built', does not show {', '.join(missing)}"
    drawn = set(re.findall(r"\b([a-z_0-9]+\.py)\b", section))
    gone = drawn - {path.name for folder in ("dtcxen_soap", "tests", "tools", "bench") for path in (ROOT / folder).rglob("*.py")}
    assert not gone, f"README shows {', '.join(sorted(gone))}, which are not there"


@pytest.mark.slow
def test_ruff_finds_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_mypy_is_satisfied() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
