"""What a model version is made of.

A manifest is one JSON file beside the model's files. It names every input of the training, so that the version can be
trained again from it, and carries the hash of every file and of the predictions on a stated probe, so that the result
can be compared.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

import polars as pl

from platform_assets.errors import CorruptModelError, ModelError
from platform_assets.science.fingerprint import content_hash, probe
from platform_assets.science.fitting import FittedModel
from platform_assets.science.formats import weights_hash

SCHEMA: Final = "perennial-manifest/1"

LATER: Final = frozenset({"train_on", "began", "masks"})  # that a manifest written before they were kept may lack

Kind = Literal["shipped", "evaluation"]
KINDS: Final[tuple[Kind, ...]] = ("shipped", "evaluation")


@dataclass(frozen=True)
class Fit:
    """One fit of the recipe: its rows are those whose labels were known by `cut_at`.

    `predictions_sha256` is the content hash of the predictions on `probe` of these very rows.
    """

    cut_at: datetime
    row_count: int
    rows_sha256: str
    predictions_sha256: str
    weights_sha256: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Began:
    """The fit of an earlier version that a fit went on from."""

    version: str
    fit: Kind
    weights_sha256: str


@dataclass(frozen=True)
class Code:
    """`package_sha256` covers every file of the platform, `trainer_sha256` the model's own; `commit` where known."""

    package_sha256: str
    trainer_sha256: str
    lock_sha256: str
    commit: str | None = None


@dataclass(frozen=True)
class Column:
    """A column that the model reads or answers, with its polars type as text."""

    name: str
    dtype: str


@dataclass(frozen=True)
class Manifest:
    """All that made a model version: its inputs, its recipe, its two fits and the reason why it was trained.

    The recipe is fitted once up to a cut before the evaluation window and judged there (`evaluation`), then refitted on
    everything and shipped (`shipped`). `train_on` and `masks` say how the training set was drawn, whose table is named with
    its version; `began` from which fit of which version each fit went on, empty where they began from nothing.
    """

    model: str
    format: str
    task: str
    reason: str
    created_at: datetime
    tables: Mapping[str, int]
    views: Mapping[str, str]
    code: Code
    image: str
    platform: str
    features: tuple[str, ...]
    label: str
    outputs: tuple[str, ...]
    levels: tuple[float, ...]
    parameters: Mapping[str, Any]
    seed: int
    threads: int
    device: str
    shipped: Fit
    evaluation: Fit
    inputs: tuple[Column, ...] = ()
    answers: tuple[Column, ...] = ()
    train_on: Mapping[str, Any] = field(default_factory=dict)
    began: Mapping[Kind, Began] = field(default_factory=dict)
    masks: tuple[Mapping[str, Any], ...] = ()
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ModelError(f"manifest of {self.model or '?'}: " + "; ".join(problems))

    def fit(self, kind: Kind) -> Fit:
        """The fit of this kind."""
        return self.shipped if kind == "shipped" else self.evaluation

    def with_files(
        self, shipped: Mapping[str, str], evaluation: Mapping[str, str], inputs: pl.DataFrame, answers: pl.DataFrame
    ) -> Self:
        """The same with the files' hashes and the signature filled in."""
        return replace(
            self,
            shipped=replace(self.shipped, files=dict(shipped)),
            evaluation=replace(self.evaluation, files=dict(evaluation)),
            inputs=columns(inputs),
            answers=columns(answers),
        )

    def to_json(self) -> bytes:
        """UTF-8 JSON with sorted keys; equal manifests give equal bytes."""
        return json.dumps(asdict(self), default=_encode, sort_keys=True, indent=2, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """The manifest written by `to_json`. Raises: CorruptModelError where the content is no manifest."""
        try:
            raw = json.loads(content)
            known = {one.name for one in fields(cls)}
            if raw.get("schema") != SCHEMA or not known - LATER <= set(raw) <= known:
                found = sorted(set(raw) ^ known) or raw.get("schema")
                raise CorruptModelError(f"manifest.json: expected schema {SCHEMA}, differing keys or schema: {found}")
            return cls(
                **{
                    **raw,
                    "created_at": datetime.fromisoformat(raw["created_at"]),
                    "code": Code(**raw["code"]),
                    "shipped": _fit(raw["shipped"]),
                    "evaluation": _fit(raw["evaluation"]),
                    "began": {kind: Began(**one) for kind, one in raw.get("began", {}).items()},
                    "inputs": tuple(Column(**one) for one in raw["inputs"]),
                    "answers": tuple(Column(**one) for one in raw["answers"]),
                    **{key: tuple(raw.get(key, ())) for key in ("features", "outputs", "levels", "masks")},
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as broken:
            raise CorruptModelError(f"manifest.json is not a manifest: {type(broken).__name__}: {broken}") from broken


def _fit(raw: Mapping[str, Any]) -> Fit:
    return Fit(**{**raw, "cut_at": datetime.fromisoformat(raw["cut_at"])})


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} cannot stand in a manifest: {value!r}")


def _problems(manifest: Manifest) -> Iterator[str]:
    for name in ("model", "format", "task", "reason", "label", "image", "platform"):
        if not getattr(manifest, name):
            yield f"`{name}` is empty"
    if not manifest.features or not manifest.outputs:
        yield "`features` and `outputs` must name columns"
    if manifest.levels and len(manifest.levels) != len(manifest.outputs):
        yield f"{len(manifest.levels)} levels for {len(manifest.outputs)} outputs"
    if manifest.threads < 1:
        yield f"`threads` is {manifest.threads}"
    for at, where in (
        (manifest.created_at, "created_at"),
        (manifest.shipped.cut_at, "shipped.cut_at"),
        (manifest.evaluation.cut_at, "evaluation.cut_at"),
    ):
        if at.tzinfo is None:
            yield f"`{where}` has no time zone"
    if (
        manifest.shipped.cut_at.tzinfo
        and manifest.evaluation.cut_at.tzinfo
        and manifest.shipped.cut_at < manifest.evaluation.cut_at
    ):
        yield "the shipped fit's cut lies before the evaluation fit's"
    hashes = {
        "code.package_sha256": manifest.code.package_sha256,
        "code.trainer_sha256": manifest.code.trainer_sha256,
        "code.lock_sha256": manifest.code.lock_sha256,
    }
    for kind in KINDS:
        fit = manifest.fit(kind)
        hashes |= {
            f"{kind}.{name}": getattr(fit, name) for name in ("rows_sha256", "predictions_sha256", "weights_sha256")
        }
        hashes |= {f"{kind}.files[{name}]": value for name, value in fit.files.items()}
    for where, value in hashes.items():
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            yield f"`{where}` is no SHA-256: {value!r}"


def fit_of(model: FittedModel, rows: pl.DataFrame, cut_at: datetime) -> Fit:
    """What the manifest says of `model`, fitted on exactly these rows; its files' hashes come with registration."""
    return Fit(
        cut_at=cut_at,
        row_count=rows.height,
        rows_sha256=content_hash(rows),
        predictions_sha256=content_hash(model.predict(probe(rows))),
        weights_sha256=weights_hash(model.files()),
    )


def columns(frame: pl.DataFrame) -> tuple[Column, ...]:
    """Names and types of a frame's columns, in order."""
    return tuple(Column(name, str(dtype)) for name, dtype in frame.schema.items())


_OUTCOMES: Final = ("created_at", "reason", "shipped.", "evaluation.")


def diff(before: Manifest, after: Manifest) -> dict[str, tuple[object, object]]:
    """Inputs that differ, by dotted path, with both values; outcomes (fits, time, reason) are left out."""
    old, new = _flat(json.loads(before.to_json())), _flat(json.loads(after.to_json()))
    return {
        path: (old.get(path), new.get(path))
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path) and not path.startswith(_OUTCOMES)
    }


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}{key}.") if isinstance(inner, dict) and inner else {f"{prefix}{key}": inner}
    return found
