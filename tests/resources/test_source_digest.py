"""The digest of a function's code changes with all that it reaches in science/, and with nothing else there."""

from pathlib import Path

import pytest

from resources import source_digest as module
from resources.source_digest import modules_behind, source_digest

SCIENCE = "platform_assets.science"
VIEWS = {
    "demand_history": f"{SCIENCE}.demand.features:demand_history",
    "price_history": f"{SCIENCE}.demand.features:price_history",
    "season": f"{SCIENCE}.demand.season:season",
    "offer": f"{SCIENCE}.demand.offer:offer",
}
VIEW = '''"""Views."""
from platform_assets.science import windows
from platform_assets.science.windows import spread as width

LIMIT = 3


def history():
    return windows.mean(LIMIT)


def prices():
    return width()
'''
WINDOWS = """from platform_assets.science.units import PIECE

WIDE = 9


def mean(n):
    return _sum(n) / n


def _sum(n):
    return n * PIECE


def spread():
    return WIDE
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "platform_assets" / "science"
    folder.mkdir(parents=True)
    for name, text in {"views": VIEW, "windows": WINDOWS, "units": "PIECE = 1\nBOX = 12\n"}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return folder


def changed(package: Path, file: str, old: str, new: str) -> set[str]:
    """The functions of views.py whose digest an edit changes."""
    path = package / f"{file}.py"
    text = path.read_text()
    assert old in text
    names = ("history", "prices")
    before = {name: source_digest(f"{SCIENCE}.views:{name}") for name in names}
    path.write_text(text.replace(old, new))
    module._parsed.cache_clear()  # pyright: ignore[reportPrivateUsage]  # two edits within one tick of the clock
    module._parsed_module.cache_clear()  # pyright: ignore[reportPrivateUsage]
    return {name for name in names if source_digest(f"{SCIENCE}.views:{name}") != before[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("views", "LIMIT = 3", "LIMIT = 4", {"history"}),  # a constant that it reads
        ("views", "return width()", "return 2 * width()", {"prices"}),  # its neighbour's body
        ("views", "LIMIT = 3", "LIMIT = 3  # weeks", set()),  # a comment
        ("views", "LIMIT = 3", "LIMIT = 3\nOTHER = 4", set()),  # a name that nobody reads
        ("views", "LIMIT = 3", "LIMIT = 3\nprint(1)", {"history", "prices"}),  # a statement that binds nothing
        ("windows", "n * PIECE", "n + PIECE", {"history"}),  # reached through an attribute and a private function
        ("windows", "WIDE = 9", "WIDE = 10", {"prices"}),  # reached through a name that was imported as another
        ("units", "PIECE = 1", "PIECE = 2", {"history"}),  # two modules away
        ("units", "BOX = 12", "BOX = 6", set()),
    ],
)
def test_an_edit_changes_the_digest_of_what_reaches_it(
    package: Path, file: str, old: str, new: str, expected: set[str]
) -> None:
    assert changed(package, file, old, new) == expected


@pytest.mark.parametrize(
    "body",
    [
        "return getattr(windows, 'spread')()",  # the module handed on whole
        "return windows.__dict__['spread']()",
        "return eval('width')()",
        "from platform_assets.science.windows import spread\n    return spread()",  # imported where it is used
        "from platform_assets.science.windows import *\n    return spread()",
    ],
)
def test_what_cannot_be_followed_counts_whole(package: Path, body: str) -> None:
    (package / "views.py").write_text(VIEW.replace("return windows.mean(LIMIT)", body))
    assert "history" in changed(package, "windows", "WIDE = 9", "WIDE = 10")


def test_modules_behind_are_found_wherever_they_are_imported(package: Path) -> None:
    (package / "late.py").write_text("def f():\n    from platform_assets.science import views\n")
    found = modules_behind([f"{SCIENCE}.late"])
    assert {name.rpartition(".")[2] for name in found} == {"late", "views", "windows", "units"}


def test_a_feature_of_one_view_leaves_the_other_views_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user adds one: declared beside the others in `columns.py`, computed beside them in `features.py`."""
    folder = tmp_path / "platform_assets" / "science" / "demand"
    folder.mkdir(parents=True)
    for path in (Path(module.__file__).parents[1] / "platform_assets" / "science" / "demand").glob("*.py"):
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    before = {view: source_digest(function) for view, function in VIEWS.items()}
    declared, computed = folder / "columns.py", folder / "features.py"
    first = '    _f("last_price",'
    declared.write_text(declared.read_text().replace(first, '    _f("price_twice", "twice the price"),\n' + first))
    computed.write_text(
        computed.read_text().replace(
            '.filter("is_reported")\n        .with_columns(\n            (pl.col("last_price")',
            '.filter("is_reported")\n        .with_columns(\n            (2 * pl.col("last_price")).alias("price_twice"),\n            (pl.col("last_price")',
        )
    )
    assert "price_twice" in declared.read_text()
    assert "price_twice" in computed.read_text()
    assert {view for view, function in VIEWS.items() if source_digest(function) != before[view]} == {"price_history"}


def test_another_network_makes_the_network_model_stale_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer is a few lines that call science/: a hash of train.py alone calls a model current that is not."""
    trainers = ["demand", "demand_deep", "dormant"]
    project = Path(module.__file__).parents[1]
    for path in (project / "platform_assets").rglob("*.py"):
        copy = tmp_path / path.relative_to(project)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    functions = {name: f"platform_assets.defs.models.{name}.train:fit" for name in trainers}
    before = {name: source_digest(function) for name, function in functions.items()}
    network = tmp_path / "platform_assets" / "science" / "network.py"
    network.write_text(network.read_text().replace("nn.SiLU()", "nn.GELU()"))
    assert "nn.GELU()" in network.read_text()
    changed = {name for name, function in functions.items() if source_digest(function) != before[name]}
    assert "demand_deep" in changed
    assert "dormant" not in changed
