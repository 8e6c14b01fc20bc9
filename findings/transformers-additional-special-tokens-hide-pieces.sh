#!/usr/bin/env bash
# additional_special_tokens in tokenizer_config.json makes transformers 5 forget the pieces of tokenizer.model
# that are tokens by themselves: the user-defined <sep> is then spelled byte by byte.
# sentencepiece itself always gives the piece. Seen with transformers 5.24.0, class LlamaTokenizer.
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

original = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
added = {"<|tool|>": len(original)}
for extra in (None, ["<|tool|>"]):
    config = {"tokenizer_class": "LlamaTokenizer"} | ({} if extra is None else {"additional_special_tokens": extra})
    tokenizer = opened(f"extra-{extra is not None}", config, added_tokens=added)
    pieces = tokenizer.tokenize("the<sep>bridge")
    print("additional_special_tokens", extra, "->", pieces)
    assert ("<sep>" in pieces) is (extra is None)
assert "<sep>" in original.encode("the<sep>bridge", out_type=str)
PY
