#!/usr/bin/env bash
# A Llama folder with tokenizer.model alone and no add_bos_token: transformers 5 adds no beginning token.
# The docstring of LlamaTokenizer (5.24.0) says that add_bos_token is true by default; version 4 and
# llama.cpp (whose converter writes no key, and whose default is true) add it. Seen with 5.24.0:
# None adds nothing, true adds <s>.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q transformers==5.24.0 sentencepiece==0.2.3 protobuf==7.36.2
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
import io, json, pathlib, warnings
warnings.filterwarnings("ignore")
import sentencepiece
from transformers import AutoTokenizer

words = ("the bridge keeper counts boats that pass below old stone arch "
         "three apples came by today she asked for time").split()
lines = [" ".join(words[i:] + words[:i]) for i in range(len(words))] * 20
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(lines), model_writer=model, vocab_size=330, model_type="bpe",
    byte_fallback=True, user_defined_symbols=["<sep>"], normalization_rule_name="identity",
    hard_vocab_limit=False, minloglevel=2)


def opened(name, config, **files):
    path = pathlib.Path(name)
    path.mkdir()
    (path / "tokenizer.model").write_bytes(model.getvalue())
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 512}))
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    for file, content in files.items():
        (path / f"{file}.json").write_text(json.dumps(content))
    return AutoTokenizer.from_pretrained(path)

for said, begins in ((None, False), (True, True), (False, False)):
    config = {"tokenizer_class": "LlamaTokenizer"} | ({} if said is None else {"add_bos_token": said})
    tokenizer = opened(f"bos-{said}", config)
    ids = tokenizer.encode("the bridge")
    print("add_bos_token", said, "->", tokenizer.convert_ids_to_tokens(ids))
    assert (ids[0] == tokenizer.bos_token_id) is begins
from transformers import LlamaTokenizer
assert "add_bos_token (`bool`, *optional*, defaults to `True`)" in LlamaTokenizer.__doc__
PY
