"""What `dg scaffold defs platform_assets.components.SalesSource data/<name>` writes."""

import dagster as dg
from dagster.components.scaffold.scaffold import Scaffolder
from pydantic import BaseModel


class SourceParameters(BaseModel):
    """Options of the scaffold command."""


class SalesSourceScaffolder(Scaffolder[SourceParameters]):
    """Writes defs.yaml with comments."""

    @classmethod
    def get_scaffold_params(cls) -> type[SourceParameters]:
        return SourceParameters

    def scaffold(self, request: dg.ScaffoldRequest[SourceParameters]) -> None:
        raise NotImplementedError
