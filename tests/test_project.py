"""The project's own files: what is uploaded to a cloud, what is locked, and which module may import which."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.places import PLACES

from auditsplit import sinks
from auditsplit.policy.profiles import PROFILES
from auditsplit.sinks.options import Options

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the pinned versions and hashes by package."""
    text = path.read_text().replace("\\\n", " ")
    found = re.findall(r"^([a-z0-9._-]+)==(\S+)(.*)$", text, re.MULTILINE)
    return {name: (version, frozenset(re.findall(r"sha256:[0-9a-f]{64}", rest))) for name, version, rest in found}


def test_all_locks_have_the_same_versions() -> None:
    """functions/requirements.txt, locks/ and the image have the versions and hashes of the tests' lock."""
    locked, uploaded = pins(ROOT / "requirements.lock"), pins(ROOT / "functions" / "requirements.txt")
    served = [pins(path) for path in (*(ROOT / "locks").glob("*.lock"), ROOT / "infra" / "image" / "requirements.lock")]

    assert len(served) > 1
    for packages in (uploaded, *served):
        assert packages
        assert {name: locked[name] for name in packages} == packages
        assert not {"pytest", "ruff", "mypy"} & set(packages)
    assert {"functions-framework", "orjson", "msgspec", "isal", "click"} <= set(uploaded)


def test_every_extra_has_a_lock() -> None:
    """``make run SINKS=…`` installs an extra from its lock. Those of the server are in one lock."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert {path.stem for path in (ROOT / "locks").glob("*.lock")} == {"run", *extras} - {"serve", "metrics"}


POLICIES = Path("functions/auditsplit/policy/profiles")


def test_the_upload_holds_code_and_nothing_else() -> None:
    """functions/ is what a cloud gets: modules, requirements, audit policies and the Metrics API's documents."""
    listed = subprocess.run(["git", "ls-files", "functions"], cwd=ROOT, capture_output=True, check=True)
    tracked = [Path(line) for line in listed.stdout.decode().split()]

    assert {path for path in tracked if path.suffix != ".py"} == {
        Path("functions/requirements.txt"),
        *(POLICIES / f"{profile}.yaml" for profile in PROFILES),
        *Path("functions/metricsapi/documents").glob("*.json"),
    }
    assert "functions/__init__.py" not in map(str, tracked)
    assert Path("functions/main.py") in tracked


def test_the_wheel_holds_the_policies(tmp_path: Path) -> None:
    """`auditsplit policy init` finds them where the package is installed, not only in a checkout."""
    build = ["hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run([sys.executable, "-m", *build], cwd=ROOT, capture_output=True, check=True)

    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        held = {Path(name).stem for name in packed.namelist() if name.startswith("auditsplit/policy/profiles/")} - {
            "__init__"
        }
    assert held == set(PROFILES)


def test_no_python_file_of_the_upload_is_broken() -> None:
    """Google's build compiles the whole tree, so one broken file anywhere fails a deployment."""
    for path in (ROOT / "functions").rglob("*.py"):
        compile(path.read_text(), path, "exec")


def tree(path: Path) -> ast.Module:
    """Return the module in ``path``, parsed."""
    return ast.parse(path.read_text(), str(path))


def imported(path: Path, *packages: str) -> set[str]:
    """Return the names of all modules that ``path`` imports, wherever in it, and of what it imports from them.

    With ``packages``, only those below them.
    """
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write imports in full"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if f"{name}.".startswith(packages or "")}


def test_no_test_file_imports_another() -> None:
    """What two of them need is in tests/support."""
    tests = ROOT / "tests"
    files = [path for path in tests.rglob("*.py") if path.name.startswith("test_") or path.name == "conftest.py"]
    names = {path.stem for path in files}

    offending = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in tests.rglob("*.py")
        for name in imported(path)
        if names & set(name.split("."))
    }

    assert not offending


def test_there_are_at_most_forty_fixtures() -> None:
    """A fixture is hidden from the reader of a test. A helper function is not."""
    fixtures = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef)
        if any(ast.unparse(decorator).startswith("pytest.fixture") for decorator in node.decorator_list)
    ]

    assert len(fixtures) <= 40, "\n".join(fixtures)


def test_no_module_is_longer_than_250_lines() -> None:
    """A longer module has two ideas in it."""
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in FUNCTIONS.rglob("*.py")}

    assert not {str(path): length for path, length in lengths.items() if length > 250}


FLOORS = [
    {"main", "lambda_function", "compaction", "lambda_compaction", "metrics"},
    {"auditsplit.cli"},
    {"auditsplit.function", "metricsapi.function"},
    {"auditsplit.bootstrap", "metricsapi.bootstrap"},
    {"metricsapi.receiver"},
    {"metricsapi.answers", "metricsapi.documents"},
    {"metricsapi.access", "metricsapi.kubelets", "metricsapi.representations"},
    {"metricsapi.protobuf"},
    {"metricsapi.objects", "metricsapi.frontproxy"},
    {"metricsapi.apiserver", "metricsapi.summary"},
    {"metricsapi.clients", "metricsapi.counters", "metricsapi.settings", "metricsapi.shared"},
    {"metricsapi.errors"},
    {"auditsplit.serve", "auditsplit.ship"},
    {"auditsplit.ingest", "auditsplit.replay", "auditsplit.apiserver", "auditsplit.archive"},
    {"auditsplit.settings"},
    {"auditsplit.sinks", "auditsplit.telemetry"},
    {"auditsplit.policy", "auditsplit.webhook"},
    {"auditsplit.routing"},
    {"auditsplit.decode"},
    {"auditsplit.auth"},
    {"auditsplit.atomic", "auditsplit.deadline", "auditsplit.environ"},
    {"auditsplit.errors", "auditsplit.event", "auditsplit.receipts"},
]
"""The rooms from top to bottom. A room imports from lower floors. On its own floor only `ingest` is below `replay`."""

PACKAGES = ("auditsplit.", "metricsapi.")
NEIGHBOURS = {("auditsplit.replay", "auditsplit.ingest")}
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room(module: str) -> str:
    """Return the room of a module: the first name below its package, or an entry point."""
    return ".".join(module.split(".")[:2])


def modules() -> dict[str, Path]:
    """Return all modules of the upload by their names."""
    paths = {path.relative_to(FUNCTIONS).with_suffix(""): path for path in FUNCTIONS.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in paths.items()}


def test_imports_go_one_way() -> None:
    """From the entry points and the commands down to events and errors, also where a function imports."""
    offending = [
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in sorted(imported(path, *PACKAGES) - {"auditsplit", "auditsplit.__version__", "metricsapi"})
        if room(other) != room(name) and (room(name), room(other)) not in NEIGHBOURS
        if ROOMS[room(other)] <= ROOMS[room(name)]
    ]

    assert not offending


def test_no_imports_go_round() -> None:
    """Neither within a room."""
    names = modules()
    graph = {name: imported(path, *PACKAGES) & (names.keys() - {name}) for name, path in names.items()}

    order = list(TopologicalSorter(graph).static_order())

    assert order.index("auditsplit.errors") < order.index("auditsplit.cli")


@pytest.mark.parametrize("scheme", sinks.SCHEMES)
def test_the_module_of_a_sink_has_what_its_protocol_names(scheme: str) -> None:
    """Mypy sees each `build` return a `Sink`, but not the modules, which are imported by name."""
    module = sinks.module_of(scheme)

    assert issubclass(module.Options, Options)
    assert len(inspect.signature(module.mistakes).parameters) == 1
    assert len(inspect.signature(module.build).parameters) == 2
    assert inspect.get_annotations(module.build, eval_str=True)["return"] is sinks.Sink


WITHOUT_PLACE = {"auditsink", "stdout", "webhook"}
"""Sinks that store nothing that can be read back. Each has a test file of its own."""


def test_the_contract_suite_has_a_place_for_every_sink() -> None:
    """Else a new sink would pass without one test of the promises in `Sink`."""
    kinds = {scheme.partition("+")[0] for scheme in sinks.SCHEMES}

    assert kinds - WITHOUT_PLACE == set(PLACES)


OTHER_KIND = """
import sys
from auditsplit import bootstrap
from auditsplit.serve import framework, messages

assert bootstrap.logs

class Echo:
    def handle(self, request):
        return messages.json_response(200, {"path": request.path, "body": request.stream.read(100).decode()})

    def busy(self):
        return messages.json_response(503, {})

import flask

with flask.Flask("other").test_request_context("/echo", method="POST", data=b"hello"):
    answer = framework.answer(framework.start(lambda environ: Echo(), {}), flask.request)
print(answer.status_code, answer.json["path"], answer.json["body"])
print(*sorted(name for name in sys.modules if name.startswith("auditsplit.")))
"""


def test_another_kind_of_function_answers_without_the_modules_of_ingest() -> None:
    """A fresh interpreter that has a function of its own behind functions-framework imports no sink."""
    done = subprocess.run([sys.executable, "-c", OTHER_KIND], capture_output=True, text=True, check=True)

    answer, imported_modules = done.stdout.splitlines()
    assert answer == "200 /echo hello"
    loaded = set(imported_modules.split())
    assert {"auditsplit.bootstrap", "auditsplit.serve.framework", "auditsplit.serve.messages"} <= loaded
    assert not {"auditsplit.ingest", "auditsplit.serve.receiver", "auditsplit.sinks"} & loaded
