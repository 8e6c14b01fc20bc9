"""The JSON-Schema-Test-Suite, as the source of jsonschema 4.26.0 brings it: what a contract says of
each instance, and what its grammar would let a model write."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.others.support import source_of
from tests.support.written import byte_level_tokenizer, is_written
from understudy.errors import SchemaError
from understudy.generation.schemas.contract import contract_of
from understudy.text import Tokenizer

pytestmark = pytest.mark.others
DRAFTS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
# Documents of other addresses are not fetched; `$recursiveRef` is read as a plain reference
# (docs/compatibility/clients.md); vocabularies of one's own are passed over.
LEFT_OUT = {"refRemote", "vocabulary", "dynamicRef", "recursiveRef", "format", "anchor", "id"}
# A call has the arguments that its schema describes and no others: objects are closed.
CLOSING = {"additionalProperties", "unevaluatedProperties"}
ELSEWHERE = ("localhost:1234", "$recursiveRef", "$dynamicRef")
TESTS = "jsonschema-4.26.0/json/tests/"


def cases(draft: str) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """(keyword and description, schema, instances)."""
    with tarfile.open(source_of("jsonschema", "4.26.0")) as archive:
        for member in archive.getmembers():
            path = Path(member.name.removeprefix(TESTS))
            is_plain = path.parts[:1] == (draft,) and len(path.parts) == 2
            if not is_plain or path.stem in LEFT_OUT or not member.name.startswith(TESTS):
                continue
            file = archive.extractfile(member)
            assert file is not None
            for group in json.load(file):
                schema = group["schema"]
                written = json.dumps(schema)
                if isinstance(schema, dict) and not any(word in written for word in ELSEWHERE):
                    yield (
                        f"{path.stem}: {group['description']}",
                        {"$schema": DRAFTS[draft], **schema},
                        group["tests"],
                    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_level_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize("draft", sorted(DRAFTS))
def test_verdicts_and_grammars(draft: str, tokenizer: Tokenizer) -> None:
    wrong, unsound, counts = [], [], Counter[str]()
    for name, schema, instances in cases(draft):
        try:
            contract = contract_of(schema)
        except SchemaError:  # what it points at is not there
            counts["refused"] += 1
            continue
        for instance in instances:
            counts["instances"] += 1
            value, is_valid = instance["data"], instance["valid"]
            fault = contract.fault(value)
            is_closed = fault is not None and fault.keyword in CLOSING and is_valid
            if (fault is None) != is_valid and not is_closed:
                wrong.append((name, instance["description"], fault))
            try:
                is_open = is_written(tokenizer, contract, value)
            except SchemaError:  # no value satisfies it, or none that a grammar could hold
                counts["unsatisfiable"] += 1
                continue
            counts["written"] += is_open and is_valid
            if is_open and not is_valid and not contract.loosened:
                unsound.append((name, instance["description"]))
    assert not wrong, (counts, wrong[:5])
    assert not unsound, (counts, unsound[:5])
    assert counts["instances"] > 400
    assert counts["written"] > 150
    assert counts["refused"] < 12
