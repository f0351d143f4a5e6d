"""A quantile network: a week-wise convolution over recent units beside the dense features.

Why convolutional: the window is short and of fixed length (56 periods), so a recurrent network would take 56 dependent steps
for what one matrix product does, and attention over eight weeks has nothing long to reach for. A first layer reads each week
with the same weights (a convolution of width and stride 7), a second one each week with its neighbours. The
model's card says what it gains, and what it costs.

What a network must be given that trees find alone: the target over the series' backward-looking level, logarithms of all
that is measured in units, standardised inputs, marked nulls. Quantiles cannot cross: the first is free, the others add a
softplus each.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, CorruptModelError, EmptyFrameError, ModelError, SchemaError
from platform_assets.science.fitting import FitSettings
from platform_assets.science.network_inputs import PATCH, Array, Encoding

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS: Final = "network.safetensors"
CONFIG: Final = "network.json"
CHUNK: Final = 8_192  # rows predicted at once
MOST_THREADS: Final = 64

# A target of nothing sold counts as this much below zero (in levels), and predictions are cut at zero. Quantiles do not
# mind a monotone change of the target, and a quantile that is zero then lies well below the cut, not a hair above it.
ZERO: Final = -0.2


@dataclass(frozen=True)
class Recipe:
    """What `parameters` in defs.yaml may set.

    `weight` is the power of the level that a row's loss is multiplied with: 1 is pinball loss in units, 0 in levels.
    """

    hidden: int = 192
    layers: int = 2
    channels: int = 32
    summary: int = 48
    dropout: float = 0.1
    epochs: int = 4
    batch: int = 1_024
    rate: float = 2e-3
    decay: float = 1e-2
    weight: float = 0.75
    least_steps: int = 300

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Raises: ConfigurationError naming an unknown parameter or one out of bounds."""
        unknown = sorted(set(parameters) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigurationError(
                f"quantile network: unknown parameters {', '.join(unknown)}",
                hint=f"known: {', '.join(cls.__dataclass_fields__)}",
            )
        made = cls(**parameters)
        wrong = [name for name, value in asdict(made).items() if value < (0 if name in {"dropout", "weight"} else 1e-9)]
        if wrong or made.dropout >= 1:
            raise ConfigurationError(f"quantile network: out of bounds: {', '.join(wrong or ['dropout'])}")
        return made


def available_device() -> str:
    """`cuda` where this process can use one, else `cpu`."""
    import torch  # 1.4 s

    return "cuda" if torch.cuda.is_available() else "cpu"


class QuantileNetwork:
    """A fitted network with the encoding of its inputs. Files: weights as safetensors, everything else as JSON."""

    format: str = "quantile-network/1"

    def __init__(self, network: "nn.Module", encoding: Encoding, recipe: Recipe, outputs: tuple[str, ...]) -> None:
        self._network = network
        self._encoding = encoding
        self._recipe = recipe
        self._outputs = outputs

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Quantiles in units, >= 0 and never crossing.

        Computed in double precision and rounded to single, so that the same row gives the same bytes whatever the number
        of rows beside it.
        Raises: SchemaError where a feature is missing or no number.
        """
        import torch

        scales = self._encoding.scales(rows)
        found = np.empty((rows.height, len(self._outputs)))
        with torch.inference_mode():
            for start in range(0, rows.height, CHUNK):
                part, scale = rows[start : start + CHUNK], scales[start : start + CHUNK]
                dense = torch.from_numpy(self._encoding.dense(part, scale)).double()
                recent = torch.from_numpy(self._encoding.recent(part, scale)).double()
                found[start : start + CHUNK] = self._network(dense, recent).numpy()
        units = (np.maximum(found, 0.0) * scales[:, None]).astype(np.float32).astype(np.float64)
        return pl.DataFrame({name: units[:, index] for index, name in enumerate(self._outputs)})

    def files(self) -> dict[str, bytes]:
        """Weights and configuration."""
        from safetensors.torch import save

        weights = {name: value.float().contiguous() for name, value in self._network.state_dict().items()}
        config = {
            "format": self.format,
            "outputs": list(self._outputs),
            "recipe": asdict(self._recipe),
            "encoding": self._encoding.to_json(),
        }
        return {WEIGHTS: save(weights), CONFIG: json.dumps(config, indent=1, allow_nan=False).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The network that was written as `files`."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        config = json.loads(files[CONFIG])
        encoding, recipe = Encoding.from_json(config["encoding"]), Recipe.of(config["recipe"])
        outputs = tuple(config["outputs"])
        network = _network(encoding, recipe, len(outputs))
        try:
            network.load_state_dict(load(files[WEIGHTS]))
        except (SafetensorError, RuntimeError) as broken:  # RuntimeError: torch names the tensors that do not fit
            raise CorruptModelError(f"{WEIGHTS} does not fit {CONFIG}: {broken}") from broken
        return cls(network.double().eval(), encoding, recipe, outputs)


def fit(rows: pl.DataFrame, settings: FitSettings) -> QuantileNetwork:
    """A network fitted by pinball loss on the rows with a label.

    Same rows, settings, device and thread count give the same bytes; torch's own state (threads, random numbers,
    determinism) is as it was afterwards. On a GPU that also needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment.
    Raises: ConfigurationError for unknown parameters or missing levels, EmptyFrameError without labels, SchemaError.
    """
    if len(settings.levels) != len(settings.outputs) or list(settings.levels) != sorted(set(settings.levels)):
        raise ConfigurationError(
            f"a quantile network needs ascending levels, one for each output; found {settings.levels}",
            hint="set `task: quantiles` in defs.yaml, or use another trainer",
        )
    recipe = Recipe.of(settings.parameters)
    if settings.label not in rows.columns:
        raise SchemaError(f"label `{settings.label}` is missing; columns: {', '.join(rows.columns)}")
    labelled = rows.filter(pl.col(settings.label).is_not_null())
    if labelled.is_empty():
        raise EmptyFrameError(f"label `{settings.label}`: no row of {rows.height} has one")
    encoding = Encoding.learn(labelled, settings.features, settings.label)
    scales = encoding.scales(labelled)
    units = labelled[settings.label].cast(pl.Float64).to_numpy()
    target = np.where(units > 0, units / scales, ZERO)
    weight = (scales / scales.mean()) ** recipe.weight
    device = available_device() if settings.device == "auto" else settings.device
    with _deterministic(settings.seed, settings.threads, device):
        network = _network(encoding, recipe, len(settings.outputs))
        _start_at(network, _weighted_quantiles(target, weight, settings.levels))
        network.to(device)
        data = (encoding.dense(labelled, scales), encoding.recent(labelled, scales), target, weight / weight.mean())
        _train(network, data, recipe, settings, device)
        network = network.cpu().double().eval()
    return QuantileNetwork(network, encoding, recipe, settings.outputs)


@contextmanager
def _deterministic(seed: int, threads: int, device: str) -> Iterator[None]:
    """Torch seeded, on `threads` threads and deterministic inside; as it was outside."""
    import torch

    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        torch.set_num_threads(min(threads, MOST_THREADS))
        # On a GPU an operation without a deterministic kernel is reported, not refused.
        torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1], warn_only=warned)


def _network(encoding: Encoding, recipe: Recipe, outputs: int) -> "nn.Module":
    """The untrained module; maps (rows, width) and (rows, periods) to ascending (rows, outputs), in levels."""
    import torch
    from torch import nn
    from torch.nn import functional

    weeks = encoding.periods // PATCH

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = encoding.width
            if weeks:
                self.week = nn.Linear(PATCH, recipe.channels)  # a convolution of width and stride 7
                self.around = nn.Linear(3 * recipe.channels, recipe.channels)  # one of width 3 over weeks
                self.summary = nn.Linear(weeks * recipe.channels, recipe.summary)
                width += recipe.summary
            layers: list[nn.Module] = []
            for _ in range(recipe.layers):
                layers += [nn.Linear(width, recipe.hidden), nn.SiLU(), nn.Dropout(recipe.dropout)]
                width = recipe.hidden
            self.body = nn.Sequential(*layers)
            self.head = nn.Linear(width, outputs)

        def forward(self, dense: "torch.Tensor", recent: "torch.Tensor") -> "torch.Tensor":
            if weeks:
                each = functional.silu(self.week(recent.unflatten(1, (weeks, PATCH))))  # (rows, weeks, channels)
                padded = functional.pad(each, (0, 0, 1, 1))
                near = torch.cat([padded[:, :-2], each, padded[:, 2:]], dim=2)  # (rows, weeks, 3 channels)
                each = each + functional.silu(self.around(near))
                dense = torch.cat([dense, functional.silu(self.summary(each.flatten(1)))], dim=1)
            raw = self.head(self.body(dense))  # (rows, outputs)
            return torch.cat([raw[:, :1], functional.softplus(raw[:, 1:])], dim=1).cumsum(dim=1)

    return Network()


def _weighted_quantiles(
    target: NDArray[np.float64], weight: NDArray[np.float64], levels: tuple[float, ...]
) -> list[float]:
    order = np.argsort(target, kind="stable")
    mass = np.cumsum(weight[order])
    places = np.searchsorted(mass, np.asarray(levels) * mass[-1]).clip(0, target.size - 1)
    return [float(value) for value in target[order][places]]


def _start_at(network: Any, quantiles: list[float]) -> None:
    """The untrained network answers these quantiles for every row: it learns only how rows differ."""
    import torch

    steps = np.maximum(np.diff(quantiles), 1e-3)
    inverse = np.where(steps > 20, steps, np.log(np.expm1(np.minimum(steps, 20))))  # of softplus
    with torch.no_grad():
        network.head.weight.mul_(0.1)
        network.head.bias.copy_(torch.tensor([quantiles[0], *inverse]))


def _train(
    network: "nn.Module",
    data: tuple[Array, Array, NDArray[np.float64], NDArray[np.float64]],
    recipe: Recipe,
    settings: FitSettings,
    device: str,
) -> None:
    """AdamW under a one-cycle rate; each epoch sees every row once, in an order drawn from the seed."""
    import torch

    dense, recent, target, weight = (torch.from_numpy(one.astype(np.float32, copy=False)).to(device) for one in data)
    count = target.shape[0]
    batch = min(recipe.batch, max(32, count // 32))
    per_epoch = -(-count // batch)
    epochs = max(recipe.epochs, -(-recipe.least_steps // per_epoch))
    levels = torch.tensor(settings.levels, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.rate, total_steps=epochs * per_epoch, pct_start=0.15
    )
    network.train()
    for epoch in range(epochs):
        losses = torch.zeros((), device=device)
        order = torch.randperm(count)
        for chosen in order.split(batch):
            picked = chosen.to(device)
            above = target[picked, None] - network(dense[picked], recent[picked])  # (batch, levels)
            loss = (torch.maximum(levels * above, (levels - 1) * above).sum(1) * weight[picked]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses += loss.detach()
        mean = float(losses) / per_epoch
        if not np.isfinite(mean):
            raise ModelError(f"quantile network: the loss of epoch {epoch + 1} is {mean}", hint="lower `rate`")
        if epochs <= 20 or (epoch + 1) % (epochs // 10) == 0:
            settings.progress(f"quantile network: epoch {epoch + 1} of {epochs}, loss {mean:.4f}, {count:,} rows")
