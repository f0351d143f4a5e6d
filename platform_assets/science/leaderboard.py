"""Rows of the leaderboard, and its table."""

from typing import Any


def standing(model: str, champion: Any | None) -> dict[str, Any]:
    """A model's row: who answers, since when, and the paired improvement that the gate saw."""
    if champion is None:
        return {"model": model, "champion": None, "since": None, "against": None, "improvement": None}
    return {
        "model": model,
        "champion": champion.version,
        "since": champion.at,
        "against": champion.evidence.get("against"),
        "improvement": champion.evidence.get("improvement"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| model | champion | since | against | improvement |", "|---|---|---|---|---|"]
    for row in rows:
        gain = row["improvement"]
        told = f"{gain['estimate']:+.1%} [{gain['low']:+.1%}, {gain['high']:+.1%}]" if gain else ""
        since = f"{row['since']:%Y-%m-%d %H:%M}" if row["since"] else ""
        lines.append(f"| {row['model']} | {row['champion'] or 'none'} | {since} | {row['against'] or ''} | {told} |")
    return "\n".join(lines)
