"""The direction of imports: each room imports only rooms below it, and no room's modules import in a circle."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = (
    {"main", "predict", "compile_ahead", "ensemble", "study", "scenic_bridge"},
    {"stress", "coach"},
    {"experiment"},
    {"tfds_musclemap"},
    {"train", "reporting", "pretrained", "cost", "synthetic", "pose", "explain"},
    {"models", "data", "checkpoints", "eval"},
    {"sharding", "runtime", "biomechanics"},
    {"storage", "skeleton_layouts"},
    {"taxonomy", "arguments"},
    {"errors", "version"},
    {"interrupts"},
)
"""Rooms, topmost first. A room may import the rooms of lower floors, and in its own floor no other room."""

FLOOR = {room: len(FLOORS) - number for number, rooms in enumerate(FLOORS) for room in rooms}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("musclemap_jax", "tfds_musclemap")
    for path in (ROOT / package).rglob("*.py")
}


def room_of(module: str) -> str:
    """The room of a module; ``musclemap_jax`` itself, which holds the version, is the lowest."""
    package, *rest = module.split(".")
    if package == "tfds_musclemap":
        return package
    return rest[0] if rest else "version"


class _WithoutTypeChecking(ast.NodeTransformer):
    """Drops ``if TYPE_CHECKING:`` blocks, which never run."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if getattr(node.test, "id", "") == "TYPE_CHECKING" else self.generic_visit(node)


def imported_modules(path: Path, run_time_only: bool = False) -> set[str]:
    """Modules of ours that a file imports anywhere, inside functions too."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(_WithoutTypeChecking().visit(tree) if run_time_only else tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` imports the module; `from module import name` imports the module named first.
            found |= {name if name in MODULES else node.module for name in submodules}
    return found & MODULES.keys()


IMPORTS = {module: imported_modules(path) for module, path in MODULES.items()}


def test_every_room_has_a_floor():
    assert {room_of(module) for module in MODULES} <= FLOOR.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_lead_downwards(module):
    room = room_of(module)
    upward = [name for name in IMPORTS[module] if room_of(name) != room and FLOOR[room_of(name)] >= FLOOR[room]]
    assert upward == []


def test_modules_do_not_import_in_a_circle():
    imports = {module: imported_modules(path, run_time_only=True) for module, path in MODULES.items()}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_an_upward_import_is_seen(tmp_path):
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from musclemap_jax.train import losses\n")
    assert imported_modules(module) == {"musclemap_jax.train.losses"}
    assert FLOOR["train"] > FLOOR["data"]
