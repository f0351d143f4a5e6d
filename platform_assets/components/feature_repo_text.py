"""What the assets of a Feast repository say: descriptions, owners, tags, and what Feast cannot do with a view."""

import re
from collections.abc import Mapping

from resources.feast_repository import description as d

_TAG_KEY = re.compile(r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$")
_TAG_VALUE = re.compile(r"^[A-Za-z0-9_.-]{0,63}$")
_MAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")


def owner_of(owner: str) -> list[str]:
    """Dagster's owners: a mail address as it is, anything else as a team."""
    if not owner:
        return []
    if _MAIL.match(owner):
        return [owner]
    return [f"team:{re.sub(r'[^A-Za-z0-9_-]+', '_', owner.removeprefix('team:'))}"]


def tags_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags that Dagster takes too; all of them are in the metadata `feast/tags`."""
    return {
        key: value
        for key, value in tags.items()
        if _TAG_KEY.match(key) and _TAG_VALUE.match(value) and not key.startswith("dagster/")
    }


def view_text(view: d.View, description: d.Description, *, function: str) -> str:
    """What a row is, its key, where it lies, who computes it, and what Feast cannot do with it."""
    parts = [view.about or f"Rows of the {view.kind} `{view.name}`."]
    source = description.source(view.source)
    if view.kind == d.ON_DEMAND:
        read = [f"`{name}`" for name in (*view.inputs, *view.requests)]
        parts.append(f"Computed by Feast whenever it is read, from {' and '.join(read) or 'nothing'}.")
    else:
        said = [f"Key: {', '.join(key.name for key in view.keys) or 'none, one row for all'}."]
        if source:
            said.append(
                f"Event time `{source.time}`{f', known-at `{source.created}`' if source.created else ''}; {source.path}."
            )
        said.append(f"Computed by {function}." if function else "Computed outside this graph.")
        parts.append(" ".join(said))
    if found := limits(view):
        parts.append("What Feast cannot do with it:\n" + "\n".join(f"- {said}" for said in found))
    return "\n\n".join(parts)


def limits(view: d.View) -> list[str]:
    """What Feast 0.67 cannot do with a view of this kind."""
    found = {d.ON_DEMAND: _of_on_demand, d.LABEL: _of_label, d.STREAM: _of_stream}.get(view.kind)
    said = found(view) if found else []
    if view.kind != d.ON_DEMAND and view.code:
        said.append(
            "`materialize` runs its function, and `get_historical_features` reads its table as it is: what is served differs "
            "from what is trained on."
        )
    if view.kind != d.ON_DEMAND and not view.features:
        said.append("Its columns are not declared, and could not be read from its table.")
    if view.kind != d.ON_DEMAND and not view.is_online:
        said.append("It is not served online (`online=False`), so there is no load.")
    return said


def _of_on_demand(view: d.View) -> list[str]:
    said = ["It has no table: nothing of it can be checked before it is read."]
    if not view.is_online:
        said.append("It is not loaded: Feast computes it at each online read.")
    said.append("Its function lies pickled in the registry: who writes the registry runs code in every reader.")
    return said


def _of_label(view: d.View) -> list[str]:
    return [
        "`materialize` refuses a label view, so there is no load: labels come online by push alone.",
        f"Its conflict policy ({view.conflict_policy}) is not applied online, where the last write wins, nor by "
        "`get_historical_features`; all writes of all labelers stay in its table.",
    ]


def _of_stream(view: d.View) -> list[str]:
    return [f"Feast does not read the stream `{view.pushed_by}` by itself; only its batch table is loaded here."]


def load_limits(view: d.View) -> list[str]:
    """What one must know of a view's load."""
    said = []
    if view.pushed_by:
        said.append(
            f"`{view.pushed_by}` writes the same values online at once; a load of older rows replaces a newer push."
        )
    if view.ttl_s:
        said.append("Feast's own reader serves values past their TTL too.")
    return said
