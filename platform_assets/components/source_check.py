"""Every source's defs.yaml is read when definitions load, although one source alone becomes assets."""

from pathlib import Path

import dagster as dg

from platform_assets.components.sales_source import SalesSource


def check_sources(tree: dg.ComponentTree) -> None:
    """Read the folders of defs/data, and build nothing: milliseconds each.

    Raises: what Dagster raises of a component, with file and line of a misspelt key or value; ConfigurationError where a
    source's values contradict each other.
    """
    for file in sorted((tree.defs_module_path / "data").glob("*/defs.yaml")):
        source = tree.load_component(Path("data") / file.parent.name, SalesSource)
        source.source(file.parent.name, file.parent)
