"""The house rules that a linter does not know."""

import ast
import re
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = [
    path for folder in ("crucible", "pipelines", "assets", "resources") for path in (ROOT / folder).rglob("*.py")
]


def test_modules_are_small():
    assert len(LIBRARY) > 300
    sizes = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in LIBRARY}
    assert {path: size for path, size in sizes.items() if size > 400} == {}
    assert statistics.median(sizes.values()) <= 150


def test_modules_have_telling_names_and_say_what_they_do():
    vague = {"utils", "helpers", "manager", "common", "misc"}
    assert [path for path in LIBRARY if path.stem in vague] == []
    assert [path for path in LIBRARY if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_only_the_clock_reads_the_wall_clock():
    wall = re.compile(r"datetime\.(now|utcnow|today)\(|\btime\.time\(|date\.today\(")
    assert [path for path in LIBRARY if path.name != "clock.py" and wall.search(path.read_text())] == []


def test_nothing_loads_executable_formats():
    loader = re.compile(r"^\s*(import|from) (pickle|cloudpickle|dill)\b|joblib\.(dump|load)|allow_pickle=True", re.M)
    assert [path for path in LIBRARY if loader.search(path.read_text())] == []


def test_assets_are_thin():
    files = list((ROOT / "assets").glob("*.py"))
    assert len(files) > 3
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                statements = sum(isinstance(item, ast.stmt) for item in ast.walk(node)) - 1
                assert statements <= 20, f"{path.name}: {node.name} has {statements} statements"


def test_no_tracked_file_names_a_registry_or_a_machine_path():
    forbidden = r"pythonhosted|pypi\.org|/(work|root|home)/[a-z]"
    command = ["git", "grep", "-nIE", forbidden, "--", ".", ":!tests/unit/test_style.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, ""), found.stderr  # 1: looked through, and nothing found


def test_every_pin_has_a_reason():
    text = (ROOT / "pyproject.toml").read_text()
    lists = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    pins = [line for line in lists.splitlines() if re.match(r'\s+"[a-z]', line) and "allora-crucible" not in line]
    assert len(pins) > 20
    assert [line for line in pins if "#" not in line] == []
