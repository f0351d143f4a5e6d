"""Evidently's page: what is handed to it is escaped, and where it is not installed the message says what to do."""

import stat
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError, ModelError
from platform_assets.evidently_page import write_page
from platform_assets.science.evidently_input import escaped

EVIL = "</script><script>alert('x')</script>"
ROWS = pl.DataFrame({EVIL: [1.0, 2.0, None], 'store & "co"': ["a", EVIL, "<b>"]})


def stand_in(folder: Path, body: str) -> Path:
    """An interpreter of its own kind: it is given the runner and three files, and writes names as Evidently does."""
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\nimport sys\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_a_column_named_as_a_script_comes_out_as_text(tmp_path: Path) -> None:
    body = """
import polars as pl
_, runner, reference, current, page = sys.argv[1:] if sys.argv[1] != "-I" else ["", *sys.argv[2:]]
rows = pl.concat([pl.read_parquet(reference), pl.read_parquet(current)])
open(page, "w").write(f"<html><script>var it = {rows.to_dicts()}</script></html>")
"""
    page = tmp_path / "reports" / "page.html"
    write_page(ROWS, ROWS, page, stand_in(tmp_path, body))
    text = page.read_text()
    assert text.count("<script>") == text.count("</script>") == 1
    assert "&lt;/script&gt;&lt;script&gt;alert(&#x27;x&#x27;)" in text
    assert "<b>" not in text


def test_where_evidently_is_missing_the_message_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no Evidently") as told:
        write_page(ROWS, ROWS, tmp_path / "page.html")
    assert "[evidently]" in str(told.value)
    assert "--evidently-python" in str(told.value)
    with pytest.raises(ConfigurationError, match="no interpreter"):
        write_page(ROWS, ROWS, tmp_path / "page.html", tmp_path / "nowhere")


def test_its_own_failure_is_told_with_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="too few rows"):
        write_page(ROWS, ROWS, tmp_path / "page.html", stand_in(tmp_path, "sys.exit('too few rows')"))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True))
def test_different_names_and_categories_stay_different_and_none_is_markup(texts: list[str]) -> None:
    rows = pl.DataFrame({text: [text, None] for text in texts}, schema=dict.fromkeys(texts, pl.String))
    found = escaped(rows)
    assert len(set(found.columns)) == len(texts)
    assert not any(set("<>\"'") & set(text) for text in [*found.columns, *found.row(0)])
    assert found.row(1) == (None,) * len(texts)
    categories = escaped(pl.DataFrame({"x": texts}))["x"]
    assert categories.n_unique() == len(texts)
