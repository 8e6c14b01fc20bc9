"""What a checkpoint carries about where it comes from: the block `understudy` of config.json, the
key below of a GGUF.

    {"teacher": …, "teacher_sha256": …, "recipe": {…}, "version": …,
     "stages": [{"stage": "prune", "figures": {…}}, …]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KEY = "understudy.lineage"  # of a GGUF: the block as JSON
CARRIED = (
    "general.license",
    "general.license.name",
    "general.license.link",
    "general.languages",
)  # terms go with the weights


def lineage_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The block, from the metadata of either kind of file; empty where there is none, `{"note": …}`
    where it is no JSON object.
    """
    found = metadata.get("understudy", metadata.get(KEY))
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return {"note": found}
    return dict(found) if isinstance(found, Mapping) else {}


def gguf_entries(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a GGUF made of this checkpoint says: terms and lineage."""
    carried = {key: metadata[key] for key in CARRIED if key in metadata}
    lineage = lineage_of(metadata)
    return carried | ({KEY: json.dumps(lineage, sort_keys=True)} if lineage else {})
