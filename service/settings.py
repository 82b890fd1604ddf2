"""`SCA_*` environment variables and `--flags` → one frozen object; an unknown or bad one stops the start."""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "SCA_"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


class SettingsError(Exception):
    """A setting is unknown or bad; the message is one line that names it and its value."""


class Settings(BaseSettings):
    """Everything that can be set: `max_batch` is `SCA_MAX_BATCH` in the environment and `--max-batch` as a flag."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0 takes a free one and logs it.")
    models_dir: Path = Field(Path("models"), description="Folder of bundles, <name>/<version>/.")
    default_model: str = Field("cifar10-shallow", min_length=1, description="Model of a request that names none.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto takes CUDA if it is there and logs if not; cuda refuses to start without it. 8-bit graphs "
        "are computed on the CPU in any case.",
    )
    precision: Literal["exact", "fast"] = Field(
        "exact",
        description="Graph for requests that name none: float32, or 8-bit integers where the bundle has such a graph.",
    )
    preload: Literal["default", "all"] = Field(
        "default",
        description="Graphs loaded at the start: the default precision's, the other when it is first asked "
        "for; or all.",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="CPU threads of a model; 0 takes the CPUs that affinity and cgroup quota leave."
    )
    concurrent_runs: int = Field(
        0,
        ge=0,
        le=64,
        description="Batches that one model computes at a time; they share `threads`. 0: 1 on CUDA, else up to 4.",
    )
    max_batch: int = Field(
        32,
        ge=1,
        le=4096,
        description="Images in one run of a model, at most. Unless it is set, the CPU takes fewer of a large model: as "
        "many as have 384 KiB of features, 640 KiB with AVX-512, 1 MiB with the fast graph.",
    )
    max_wait_ms: float = Field(
        0,
        ge=0,
        le=10_000,
        description="Milliseconds that a batch waits for company, from its first image; 0 never waits.",
    )
    queue_images: int = Field(1024, ge=1, description="Images admitted to a model and not yet in a run, at most.")
    max_body_bytes: int = Field(32 * 1024 * 1024, ge=1, description="Bytes of a request body, at most.")
    body_memory_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1,
        description="Bytes that the bodies of all requests together take of the memory, at most; then 503. Never less "
        "than max_body_bytes.",
    )
    max_header_bytes: int = Field(64 * 1024, ge=1024, description="Bytes of request line and headers, at most.")
    max_images: int = Field(256, ge=1, description="Images in a request, at most.")
    max_image_pixels: int = Field(
        25_000_000, ge=1, description="Pixels of an image, at most; read from its header, before decoding."
    )
    receive_timeout_s: float = Field(
        10, gt=0, le=86_400, description="Seconds for a request's headers, and for its body."
    )
    request_timeout_s: float = Field(30, gt=0, le=86_400, description="Seconds from a request's headers to its answer.")
    drain_s: float = Field(20, ge=0, le=86_400, description="Seconds that a stopping server gives to work in flight.")
    golden_interval_s: float = Field(
        60,
        ge=0,
        le=86_400,
        description="Seconds between two checks of a model against its golden images; 0 checks once.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Comma-separated keys, any of which opens the service; none leaves it open."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated origins that browsers may call from, or *."
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="Least level logged."
    )

    @field_validator("api_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Splits a comma-separated list; an empty text is an empty list, an empty item an error."""
        if not isinstance(value, str):
            return value
        items = tuple(item.strip() for item in value.split(",")) if value.strip() else ()
        if not all(items):
            raise ValueError("an item of the comma-separated list is empty")
        return items

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin[:100]!r} is no origin, which is * or scheme://host[:port]")
        return value

    @field_validator("log_level", "device", "precision", "preload", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def read_settings(arguments: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Settings:
    """Builds the settings from flags, then environment, then defaults.

    Args:
        arguments: Command line after the program's name.
        environ: Environment to check for unknown names; the process's own if None.

    Raises:
        SettingsError: A setting is unknown or its value is bad.
    """
    names = {PREFIX + name.upper(): name for name in Settings.model_fields}
    values: dict[str, str] = {}
    for key, value in (os.environ if environ is None else environ).items():
        if key.startswith(PREFIX):
            if key not in names:
                raise SettingsError(f"unknown setting {key}={_shown(key, value)}; known: {', '.join(sorted(names))}")
            values[names[key]] = value
    values.update(_flags(arguments))
    try:
        return Settings(**values)  # type: ignore[arg-type]  # texts, which the fields' validators convert
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        shown = _shown(name, values.get(name, ""))
        raise SettingsError(f"bad setting {PREFIX}{name.upper()} (--{_flag(name)}) = {shown}: {first['msg']}") from None


def _flags(arguments: Sequence[str]) -> dict[str, Any]:
    """Parses `--max-batch 16` (or `--max_batch`); `--help` prints every setting and leaves."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serves model bundles over HTTP. --max-batch is SCA_MAX_BATCH in the environment, and so on.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        exit_on_error=False,
    )
    for name, field in Settings.model_fields.items():
        default = field.default if name not in ("api_keys", "cors_origins") else "none"
        help_text = f"{field.description} Default: {default}".replace("%", "%%")
        metavar = name.upper()
        if get_origin(field.annotation) is Literal:
            metavar = "{" + ",".join(get_args(field.annotation)) + "}"
        parser.add_argument(f"--{_flag(name)}", dest=name, metavar=metavar, help=help_text)
        if _flag(name) != name:
            parser.add_argument(f"--{name}", dest=name, help=argparse.SUPPRESS)
    try:
        known, unknown = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise SettingsError(f"bad command line: {error}") from None
    if unknown:
        raise SettingsError(f"unknown setting {_shown(unknown[0], ' '.join(unknown[:2]))} on the command line")
    return vars(known)


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _shown(name: str, value: str) -> str:
    """Shows a value in a message, unless the name says that it is a secret."""
    if any(word in name.upper() for word in ("KEY", "SECRET", "TOKEN", "PASSWORD")):
        return "'***'"
    return repr(value if len(value) <= 200 else value[:200] + "…")
