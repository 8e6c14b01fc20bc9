"""How a server is set up. Defaults are those of a server for one person on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from understudy.errors import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits, places and who may ask.

    Attributes:
        ping_s: seconds of silence after which a stream sends a comment.
        loading: options of `load` for every model.
        host, port: where to listen; other addresses than this machine's own need `key_file`.
        key_file: hashed keys, one a line; without it nobody needs one.
        allowed_hosts, allowed_origins: names beside this machine's own that a request may carry.
        max_body_bytes, max_upload_bytes: largest JSON body, largest file.
        max_running, max_waiting: requests computed together per model, and waiting for that before
            429.
        max_tokens: most tokens of one answer, whatever is asked.
        max_choices: most answers of one request, over all its prompts.
        request_timeout_s: a request takes no longer; `write_timeout_s`: a client that does not read
            is left.
        grace_s: how long answers under way may take after the server was told to stop.
        temperature: where a request names none.
        state_folder: for saved slots and collections; None: slots cannot be saved, collections are
            not kept.
        max_loaded: models kept in memory together.
        check_results: what answers to results of tools are held against: see `CallSettings`.
            Clients expect the model's own words, so nothing is added to them by default.
        calls: what else of `CallSettings` is other than the preset of each model, by name.
        embedder: what `/v1/embeddings` uses.
        log: write one JSON line per request to stderr.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    key_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 4 << 20
    max_upload_bytes: int = 32 << 20
    max_running: int = 32
    max_waiting: int = 256
    max_tokens: int | None = None
    max_choices: int = 128
    request_timeout_s: float = 600.0
    write_timeout_s: float = 60.0
    grace_s: float = 20.0
    ping_s: float = 15.0
    temperature: float = 0.7
    state_folder: Path | None = None
    max_loaded: int = 2
    check_results: Literal["off", "numbers", "complete"] = "numbers"
    calls: Mapping[str, Any] = field(default_factory=dict)
    embedder: str = "wordllama"
    log: bool = True
    loading: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.key_file is None and not is_loopback(self.host):
            raise UsageError(
                "an address that others can reach needs keys",
                where="host",
                found=self.host,
                do="make one with `understudy serve --new-key FILE` and start with `--keys FILE`",
            )
        for name in (
            "max_body_bytes",
            "max_upload_bytes",
            "max_running",
            "max_choices",
            "max_loaded",
        ):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise UsageError(
                    "setting is out of range",
                    where=name,
                    expected="at least 1",
                    found=getattr(self, name),
                )
        if type(self.port) is not int or not 0 <= self.port <= 65_535:
            raise UsageError(
                "port is out of range",
                where="port",
                expected="1 to 65535, or 0 for a free one",
                found=self.port,
            )
        for name in ("request_timeout_s", "write_timeout_s", "ping_s"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    "setting is out of range",
                    where=name,
                    expected="more than 0",
                    found=getattr(self, name),
                )


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    import ipaddress

    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
