"""Whether a second training from a manifest made the same model."""

from dataclasses import dataclass

import polars as pl

from platform_assets.errors import ModelError
from platform_assets.science.fingerprint import content_hash
from platform_assets.science.manifest import Kind, Manifest, diff


@dataclass(frozen=True)
class Reproduction:
    """Answer of a second training from a manifest. `largest_difference` is of any prediction on the probe, in units."""

    is_equal: bool
    are_rows_equal: bool
    are_weights_equal: bool
    are_predictions_equal: bool
    largest_difference: float
    differences: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """One line for people."""
        if self.is_equal:
            return "equal: rows, weights and predictions have the manifest's hashes"
        return (
            f"differs: {'; '.join(self.differences)}; largest difference of a prediction {self.largest_difference:.6g}"
        )


def reproduction(
    manifest: Manifest,
    rebuilt: Manifest,
    predictions: pl.DataFrame,
    rebuilt_predictions: pl.DataFrame,
    *,
    kind: Kind = "shipped",
) -> Reproduction:
    """Whether `rebuilt` is the same model as `manifest`'s, by hashes; the prediction frames measure by how much not.

    Shapes: both (rows, outputs), predicted on one probe by the version's files and by the rebuilt model.
    """
    if predictions.shape != rebuilt_predictions.shape or predictions.columns != rebuilt_predictions.columns:
        raise ModelError(
            f"{manifest.model}: predictions of shapes {predictions.shape} and {rebuilt_predictions.shape} "
            "cannot be compared"
        )
    old, new = manifest.fit(kind), rebuilt.fit(kind)
    are_rows_equal = old.rows_sha256 == new.rows_sha256
    are_weights_equal = old.weights_sha256 == new.weights_sha256
    are_predictions_equal = old.predictions_sha256 == new.predictions_sha256 == content_hash(rebuilt_predictions)
    gaps = [
        (predictions[name].cast(pl.Float64) - rebuilt_predictions[name].cast(pl.Float64)).abs().max()
        for name in predictions.columns
    ]
    is_equal = are_rows_equal and are_weights_equal and are_predictions_equal
    differing = [
        name
        for name, same in (
            (f"training rows ({old.row_count} against {new.row_count})", are_rows_equal),
            ("weights", are_weights_equal),
            ("predictions", are_predictions_equal),
        )
        if not same
    ]
    causes = [] if is_equal else [f"{where}: {a} -> {b}" for where, (a, b) in diff(manifest, rebuilt).items()]
    return Reproduction(
        is_equal=is_equal,
        are_rows_equal=are_rows_equal,
        are_weights_equal=are_weights_equal,
        are_predictions_equal=are_predictions_equal,
        largest_difference=max((float(gap) for gap in gaps if isinstance(gap, int | float)), default=0.0),
        differences=(*differing, *causes),
    )
