"""`FeatureRepo`: any Feast repository as assets, loaded from a cached description without importing Feast."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, ResolvedDefsStateConfig
from pydantic import Field

from platform_assets.components.feature_repo_assets import repository_definitions
from platform_assets.components.feature_repo_spec import Repository
from platform_assets.errors import ConfigurationError
from resources.feast_repository.description import edited_files, from_json
from resources.feast_repository.functions import function_digest

REFRESH: Final = "dg utils refresh-defs-state"
_PROJECT_FILES: Final = ("dg.toml", "pyproject.toml")


def _path(context: dg.ResolutionContext, value: str) -> str:
    """Relative to the folder of defs.yaml."""
    return str(context.resolve_source_relative_path(value).resolve())


def _functions(context: dg.ResolutionContext, value: dict[str, str]) -> dict[str, str]:
    """Checked by parsing, never by importing."""
    for function in value.values():
        try:
            function_digest(function)
        except ConfigurationError as error:
            raise ValueError(error.message) from error
    return value


class Partitions(dg.Model, dg.Resolvable):
    """How a view's table and its loads are cut in time."""

    every: Literal["hour", "day", "week", "month", "never"] = Field(
        default="month", description="Length of a partition."
    )
    start: str | None = Field(
        default=None, description="First day, as 2024-01-31; that of the source's first row if empty."
    )


class FeatureRepo(dg.StateBackedComponent, dg.Model, dg.Resolvable):
    """A Feast repository as assets: sources, offline tables, online loads, services and the registry."""

    path: Annotated[str, dg.Resolver(_path, model_field_type=str)] = Field(
        description="Folder of feature_store.yaml, relative to the folder of this file."
    )
    prefix: list[str] | None = Field(
        default=None, description="Beginning of all asset keys; the Feast project if left out."
    )
    group: str | None = Field(default=None, description="Group of all assets; the Feast project if left out.")
    functions: Annotated[dict[str, str], dg.Resolver(_functions, model_field_type=dict[str, str])] = Field(
        default_factory=dict, description="View to the function that computes its table, module:function."
    )
    partitions: dict[str, Partitions] = Field(
        default_factory=dict, description="View to its partitions, where months from its first row on are not meant."
    )
    freshness_hours: dict[str, float] = Field(
        default_factory=dict, description="View to the age at which its newest row is stale; its TTL where left out."
    )
    defs_state: ResolvedDefsStateConfig = DefsStateConfigArgs.local_filesystem()

    @property
    def defs_state_config(self) -> DefsStateConfig:
        place = Path(self.path)
        root = next((up for up in place.parents if any((up / name).is_file() for name in _PROJECT_FILES)), place.parent)
        return DefsStateConfig.from_args(self.defs_state, default_key=f"FeatureRepo[{os.path.relpath(place, root)}]")

    def write_state_to_path(self, state_path: Path) -> None:
        """Describe the repository, in a process of its own.

        Raises: ConfigurationError with what that process said, where it failed.
        """
        state_path.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "resources.feast_repository.describe",
            self.path,
            str(state_path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        if done.returncode:
            said = done.stderr.strip().splitlines()
            raise ConfigurationError(
                f"{self.path}: the Feast repository could not be described: {said[-1] if said else 'no word'}",
                hint=f"`feast plan` in that folder must work first. The whole message:\n{done.stderr[-2000:]}",
            )

    def build_defs_from_state(self, context: dg.ComponentLoadContext, state_path: Path | None) -> dg.Definitions:
        if state_path is None:
            raise ConfigurationError(
                f"{self.path}: this Feast repository has not been described yet, so its assets are not known",
                hint=_hint(),
            )
        description = from_json(state_path.read_text())
        if edited := edited_files(description, Path(self.path)):
            raise ConfigurationError(
                f"{self.path}: edited since it was described: {', '.join(edited[:5])}{' ...' if edited[5:] else ''}",
                hint=_hint(),
            )
        for name, views in (
            ("functions", self.functions),
            ("partitions", self.partitions),
            ("freshness_hours", self.freshness_hours),
        ):
            if unknown := sorted({*views} - {view.name for view in description.views}):
                raise ConfigurationError(
                    f"{context.path}: {name} names {', '.join(unknown)}; {self.path} has the views "
                    f"{', '.join(view.name for view in description.views)}"
                )
        repository = Repository(
            path=self.path,
            description=description,
            prefix=tuple(self.prefix if self.prefix is not None else [description.project]),
            group=self.group or "".join(c if c.isalnum() else "_" for c in description.project),
            functions={view: (function, function_digest(function)) for view, function in self.functions.items()},
            partitions={view: (said.every, said.start) for view, said in self.partitions.items()},
            freshness_hours=self.freshness_hours,
        )
        return repository_definitions(repository)


def _hint() -> str:
    return f"run `{REFRESH}` in the project (8 s of CPU); `dagster dev` does it by itself"
