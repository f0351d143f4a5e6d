"""Exponential smoothing and ARIMA(1,0,1) of all series at once.

One fixed form for every series, fitted by least squares of the one-step errors over a grid of parameters: numpy steps
through time once and carries all series and all parameters along, so 4,500 series of 180 days take a second or two
where fitting them one by one takes minutes. Missing periods (NaN) change nothing: the state moves on as it was
forecast.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ALPHAS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8])
GAMMAS = np.array([0.0, 0.05, 0.1, 0.2, 0.4])  # 0: the season stays as it began
PHIS = np.array([-0.6, -0.3, 0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97])
THETAS = np.array([-0.9, -0.7, -0.5, -0.3, 0.0, 0.3, 0.6])
_STATIONARY = 0.995  # largest |phi| and |theta|: the process returns to its mean and can be inverted
_BATCH = 512  # series at once: 512 x 63 parameters x 8 bytes = 258 kB per state, which stays in the cache


@dataclass(frozen=True)
class Fit:
    """One-step forecasts within the history, forecasts after it, and the parameters chosen for each series."""

    fitted: Array  # (series, periods), NaN before the first observation
    ahead: Array  # (series, horizon)
    parameters: Array  # (series, parameters)


def exponential_smoothing(units: Array, season: int, horizon: int) -> Fit:
    """ETS(A,N,A): a level and an additive season, without a trend; only a level where `season` is 1.

    Shapes: units (series, periods), NaN where nothing was observed. Parameters: alpha, gamma.
    Source: Hyndman, Koehler, Ord and Snyder (2008), Forecasting with Exponential Smoothing, ch. 2.
    """
    gammas = GAMMAS if season > 1 else np.zeros(1)
    alpha, gamma = (grid.ravel() for grid in np.meshgrid(ALPHAS, gammas))
    parts = [_smooth(units[at : at + _BATCH], season, horizon, alpha, gamma) for at in range(0, len(units), _BATCH)]
    return _joined(parts, units.shape[1], horizon)


def _smooth(units: Array, season: int, horizon: int, alpha: Array, gamma: Array) -> Fit:
    level_start, season_start = _smoothing_start(units, season)

    def walk(alphas: Array, gammas: Array, *, keep: bool) -> tuple[Array, Array, Array]:
        """Squared errors (series, k), fitted (series, periods) and ahead (series, horizon) where kept; k parameters."""
        level = np.repeat(level_start[:, None], alphas.shape[1], axis=1)  # (series, k)
        seasonal = np.repeat(season_start[:, :, None], alphas.shape[1], axis=2)  # (series, season, k)
        squares = np.zeros_like(level)
        fitted = np.full(units.shape, np.nan)
        has_begun = np.zeros(len(units), dtype=bool)
        for at in range(units.shape[1]):
            slot = at % season
            forecast = level + seasonal[:, slot]
            error = units[:, at, None] - forecast
            if keep:
                fitted[has_begun, at] = forecast[has_begun, 0]
            has_begun |= ~np.isnan(units[:, at])
            np.nan_to_num(error, copy=False)
            squares += error * error
            level += alphas * error
            seasonal[:, slot] += gammas * error
        ahead = np.column_stack([level[:, 0] + seasonal[:, (units.shape[1] + h) % season, 0] for h in range(horizon)])
        return squares, fitted, ahead

    grid = np.broadcast_to(alpha, (len(units), alpha.size)), np.broadcast_to(gamma, (len(units), gamma.size))
    best = walk(*grid, keep=False)[0].argmin(axis=1)
    chosen = np.column_stack([alpha[best], gamma[best]])
    _, fitted, ahead = walk(chosen[:, :1], chosen[:, 1:], keep=True)
    return Fit(fitted, ahead, chosen)


def _smoothing_start(units: Array, season: int) -> tuple[Array, Array]:
    """Level (series,) and season (series, season) of the first 28 observed days, or 8 periods."""
    observed = ~np.isnan(units)
    early = observed & (np.cumsum(observed, axis=1) <= max(4 * season, 8))
    level = _mean(units, early)
    seasonal = np.column_stack(
        [_mean(units[:, slot::season], early[:, slot::season], otherwise=level) - level for slot in range(season)]
    )
    return level, seasonal - seasonal.mean(axis=1, keepdims=True)


def _mean(units: Array, chosen: NDArray[np.bool_], otherwise: Array | float = 0.0) -> Array:
    count = chosen.sum(axis=1)
    total = np.where(chosen, units, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)


def arima(units: Array, horizon: int) -> Fit:
    """ARIMA(1,0,1) with a mean, by conditional least squares: y_t - m = phi (y_{t-1} - m) + e_t + theta e_{t-1}.

    The mean is the series' own; phi and theta come from a grid that is refined twice around its best point.
    Shapes: units (series, periods), NaN where nothing was observed. Parameters: mean, phi, theta.
    Source: Box and Jenkins (1970), Time Series Analysis, section 7.1.
    """
    parts = [_arma(units[at : at + _BATCH], horizon) for at in range(0, len(units), _BATCH)]
    return _joined(parts, units.shape[1], horizon)


def _arma(units: Array, horizon: int) -> Fit:
    centre = _mean(units, ~np.isnan(units))
    around = units - centre[:, None]

    def walk(phis: Array, thetas: Array, *, keep: bool) -> tuple[Array, Array, Array]:
        """Squared errors (series, k), fitted (series, periods) and ahead (series, horizon) where kept; k parameters."""
        value, shock = np.zeros_like(phis), np.zeros_like(phis)  # (series, k)
        squares = np.zeros_like(phis)
        fitted = np.full(units.shape, np.nan)
        has_begun = np.zeros(len(units), dtype=bool)
        for at in range(units.shape[1]):
            forecast = phis * value + thetas * shock
            shock = around[:, at, None] - forecast
            if keep:
                fitted[has_begun, at] = forecast[has_begun, 0]
            has_begun |= ~np.isnan(units[:, at])
            np.nan_to_num(shock, copy=False)
            squares += shock * shock
            value = forecast + shock
        ahead = [phis * value + thetas * shock]
        for _ in range(1, horizon):
            ahead.append(phis * ahead[-1])
        return squares, fitted, np.column_stack([step[:, 0] for step in ahead])

    phi, theta = (grid.ravel() for grid in np.meshgrid(PHIS, THETAS))
    phis = np.broadcast_to(phi, (len(units), phi.size))
    thetas = np.broadcast_to(theta, (len(units), theta.size))
    for reach in (0.15, 0.05, 0.0):
        best = walk(phis, thetas, keep=False)[0].argmin(axis=1)[:, None]
        chosen = np.take_along_axis(phis, best, 1), np.take_along_axis(thetas, best, 1)  # (series, 1) each
        steps = np.linspace(-reach, reach, 5)
        phi_steps, theta_steps = (grid.ravel() for grid in np.meshgrid(steps, steps))
        phis = np.clip(chosen[0] + phi_steps, -_STATIONARY, _STATIONARY)
        thetas = np.clip(chosen[1] + theta_steps, -_STATIONARY, _STATIONARY)
    _, fitted, ahead = walk(*chosen, keep=True)
    return Fit(fitted + centre[:, None], ahead + centre[:, None], np.column_stack([centre, *chosen]))


def _joined(parts: list[Fit], periods: int, horizon: int) -> Fit:
    if not parts:
        return Fit(np.empty((0, periods)), np.empty((0, horizon)), np.empty((0, 2)))
    return Fit(
        np.concatenate([part.fitted for part in parts]),
        np.concatenate([part.ahead for part in parts]),
        np.concatenate([part.parameters for part in parts]),
    )
