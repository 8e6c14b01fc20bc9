"""Reading a config mapping: synonyms, types, defaults, and at the end a check that every key was
understood."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeGuard

from understudy.errors import CheckpointWarning, FormatError, MissingError, UnsupportedError

# Keys of a config.json that do not change what the network computes: settings of training, of
# sampling, of the program that ran it, marks of those who wrote the file, and what transformers
# reads for no architecture of ours.
HARMLESS_KEYS = frozenset(
    [
        "add_cross_attention",
        "additional_special_tokens",
        "architectures",
        "attention_dropout",
        "attention_probs_dropout_prob",
        "attn_implementation",
        "attn_pdrop",
        "author",
        "authors",
        "auto_map",
        "bad_words_ids",
        "base_model",
        "base_models",
        "begin_suppress_tokens",
        "bf16",
        "bos_token",
        "bos_token_id",
        "cache_implementation",
        "chunk_size_feed_forward",
        "classifier_dropout",
        "cls_token_id",
        "created",
        "cross_attention_hidden_size",
        "datasets",
        "decoder_start_token_id",
        "description",
        "diversity_penalty",
        "do_sample",
        "dropout",
        "dtype",
        "early_stopping",
        "embd_pdrop",
        "embedding_dropout",
        "encoder_no_repeat_ngram_size",
        "eos_token",
        "eos_token_id",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "flash_attention",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "fp16",
        "fp32",
        "gradient_checkpointing",
        "guidance_scale",
        "hidden_dropout",
        "hidden_dropout_prob",
        "id2label",
        "init_std",
        "initializer_factor",
        "initializer_range",
        "is_composition",
        "is_decoder",
        "is_encoder_decoder",
        "is_llama_config",
        "label2id",
        "language",
        "languages",
        "length_penalty",
        "library_name",
        "license",
        "low_memory",
        "max_length",
        "max_new_tokens",
        "max_sequence_length",
        "max_window_layers",
        "min_length",
        "min_new_tokens",
        "model_max_length",
        "model_name",
        "model_type",
        "model_version",
        "name",
        "neftune_noise_alpha",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_labels",
        "num_return_sequences",
        "onnx",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "output_scores",
        "pad_token",
        "pad_token_id",
        "penalty_alpha",
        "pipeline_tag",
        "prefix",
        "pretraining_tp",
        "problem_type",
        "pruned_heads",
        "remove_invalid_values",
        "renormalize_logits",
        "repetition_penalty",
        "resid_dropout",
        "resid_pdrop",
        "return_dict",
        "return_dict_in_generate",
        "rope_interleaved",
        "router_aux_loss_coef",
        "sep_token_id",
        "seq_len",
        "seq_length",
        "sequence_bias",
        "softmax_in_fp32",
        "suppress_tokens",
        "tags",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "torchscript",
        "transformers.js_config",
        "transformers_version",
        "transformers_weights",
        "trl_version",
        "typical_p",
        "understudy",
        "unk_token",
        "unsloth_fixed",
        "unsloth_tiled_mlp",
        "unsloth_version",
        "use_bfloat16",
        "use_cache",
        "use_cache_kernel",
        "use_cache_quantization",
        "use_flash_attention",
        "use_flash_attention_2",
        "use_flash_attn",
        "use_mrope",
        "use_return_dict",
        "use_sdpa",
        "version",
        "vocab_file",
    ]
)

NORM_EPS = (
    *("rms_norm_eps", "norm_eps", "layer_norm_epsilon", "layer_norm_eps", "layernorm_epsilon"),
    *("norm_epsilon", "rms_norm_epsilon"),
)
# Texts under such names tell who wrote a file, when and from what.
_MARKS = (
    *("version", "_by", "_date", "_at", "_url", "_source", "_commit", "_hash", "_name", "_path"),
    *("comment", "comments", "note", "notes", "title", "summary", "website", "organization"),
)
# A scale of 1 is no scale.
_SCALES = ("_multiplier", "_scaling", "_scale")


class Config:
    """Reads a config mapping: synonyms, types, and at the end a check that every key was
    understood.
    """

    def __init__(
        self, values: Mapping[str, Any], where: object, harmless: frozenset[str] = frozenset()
    ) -> None:
        self.values, self.where, self.harmless = dict(values), where, harmless
        self.seen: set[str] = set()

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of some synonyms that is there and not null; two that disagree are refused."""
        found = {name: self.values[name] for name in names if self.values.get(name) is not None}
        self.seen.update(names)
        if any(value != next(iter(found.values())) for value in found.values()):
            raise FormatError("keys for the same thing disagree", where=self.where, found=found)
        return next(iter(found.values()), default)

    def require(self, *names: str) -> Any:
        value = self.get(*names)
        if value is None:
            raise MissingError("key is missing", where=self.where, expected=" or ".join(names))
        return value

    def whole(self, *names: str, default: int | None = None) -> int:
        value = self.get(*names, default=default) if default is not None else self.require(*names)
        if isinstance(value, list) and value and all(entry == value[0] for entry in value):
            value = value[0]  # one number a layer, all equal
        if type(value) is not int or not 0 < value < 1 << 31:
            raise FormatError(
                "not a positive whole number", where=f"{self.where}: {names[0]}", found=value
            )
        return value

    def real(self, *names: str, default: float | None = None) -> float:
        value = self.get(*names, default=default) if default is not None else self.require(*names)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise FormatError("not a number", where=f"{self.where}: {names[0]}", found=value)
        return float(value)

    def positive(self, *names: str, default: float | None = None) -> float:
        value = self.real(*names, default=default)
        if not 0 < value < float("inf"):
            raise FormatError(
                "not a positive number", where=f"{self.where}: {names[0]}", found=value
            )
        return value

    def reals(self, name: str) -> tuple[float, ...]:
        """A list of positive numbers."""
        values = self.require(name)
        if not isinstance(values, list):
            raise FormatError("not a list of numbers", where=f"{self.where}: {name}", found=values)
        return tuple(Config({name: value}, self.where).positive(name) for value in values)

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name, default=default)
        if not isinstance(value, bool):
            raise FormatError("not true or false", where=f"{self.where}: {name}", found=value)
        return value

    def only(self, name: str, *allowed: Any) -> None:
        """Refuses a key whose value asks for something that is not implemented; absent and null are
        always fine.
        """
        value = self.get(name)
        if value is not None and value not in allowed:
            raise UnsupportedError(
                "not implemented",
                where=f"{self.where}: {name}",
                expected=" or ".join(str(value) for value in allowed) or "null",
                found=value,
            )

    def warn(self, what: str) -> None:
        warnings.warn(f"{self.where}: {what}", CheckpointWarning, stacklevel=2)

    def norm_eps(self, name: str, default: float) -> float:
        """The epsilon of a family's norms, under the one name that transformers reads there; others
        that say something else are named."""
        value = self.real(name, default=default)
        for other in NORM_EPS:
            if other != name and self.get(other) not in (None, value):
                self.warn(f"{other} is not read for this architecture: {name} is {value:g}")
        return value

    def pass_over(self, *names: str) -> None:
        """Keys that transformers has for other architectures and does not read for this one; those
        that were read are left alone."""
        for name in [name for name in names if name not in self.seen]:
            value = self.get(name)
            if value and not (isinstance(value, list) and set(value) == {"full_attention"}):
                self.warn(f"{name} is not read for this architecture, as in transformers")

    def _unknown(self) -> list[str]:
        return sorted(
            key
            for key, value in self.values.items()
            if key not in self.seen | self.harmless
            and not key.startswith(("_", "unsloth_"))
            and not _asks_for_nothing(key, value)
        )

    def finish_with_warning(self) -> None:
        """Names keys that nobody asked for, where the originals pass them over."""
        unknown = self._unknown()
        if blocks := [key for key in unknown if isinstance(self.values[key], dict)]:
            raise UnsupportedError("not implemented", where=self.where, found=", ".join(blocks))
        if unknown:
            self.warn(f"not read, as in transformers: {', '.join(unknown)}")

    def finish(self) -> None:
        """Refuses keys that nobody asked for: what they mean for the arithmetic is unknown."""
        if unknown := self._unknown():
            raise UnsupportedError(
                "unknown key",
                where=self.where,
                found=", ".join(unknown[:5]),
                do="remove it if it does not change the arithmetic, or open an issue if it does",
            )


def is_object(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _asks_for_nothing(key: str, value: Any) -> bool:
    """Whether a key that nobody knows is a mark or a token's id, or is switched off: false, null,
    nothing in it, or a scale of 1.
    """
    if key.endswith("_token_id") or (isinstance(value, str) and key.endswith(_MARKS)):
        return True
    return value in (None, False, 0, "", [], {}) or (value == 1 and key.endswith(_SCALES))
