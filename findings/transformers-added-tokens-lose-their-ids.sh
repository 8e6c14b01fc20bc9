#!/usr/bin/env bash
# added_tokens.json says which id a token has; transformers 5 numbers new tokens on from the end of tokenizer.model
# instead, so a gap before the first (reserved rows of the embedding) shifts every one of them.
# Version 4 and llama.cpp keep the ids of the file. Seen with transformers 5.24.0.
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

size = len(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()))
tokenizer = opened("gap", {"tokenizer_class": "LlamaTokenizer"},
                   added_tokens={"<|im_start|>": size + 20, "<|im_end|>": size + 21})
found = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
print("said", [size + 20, size + 21], "given", found)
assert found == [size, size + 1]
PY
