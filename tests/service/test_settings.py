"""Settings come from flags, then the environment, then defaults; anything unknown or bad names itself."""

from collections.abc import Mapping, Sequence

import pytest
from pydantic import ValidationError

from service.settings import Settings, SettingsError, read_settings


def test_defaults_are_the_documented_ones() -> None:
    settings = read_settings([], {})
    assert (settings.host, settings.port, str(settings.models_dir)) == ("127.0.0.1", 8000, "models")
    assert (settings.default_model, settings.device, settings.threads) == ("cifar10-shallow", "auto", 0)
    assert (settings.max_batch, settings.max_wait_ms, settings.queue_images) == (32, 0, 1024)
    assert (settings.max_body_bytes, settings.max_images, settings.max_image_pixels) == (33554432, 256, 25_000_000)
    assert (settings.request_timeout_s, settings.drain_s, settings.log_level) == (30, 20, "info")
    assert settings.api_keys == () and settings.cors_origins == ()


def test_flags_beat_the_environment_in_both_spellings() -> None:
    environ = {"SCA_MAX_BATCH": "4", "SCA_PORT": "9000", "SCA_MAX_WAIT_MS": "2.5"}
    settings = read_settings(["--max-batch", "16", "--max_images=7"], environ)
    assert (settings.max_batch, settings.max_images, settings.port, settings.max_wait_ms) == (16, 7, 9000, 2.5)


def test_names_in_the_environment_are_in_capitals() -> None:
    assert read_settings([], {"SCA_PORT": "9000", "sca_port": "9001", "sca_prt": "1"}).port == 9000


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        ([], {"SCA_MAXBATCH": "4"}, ("SCA_MAXBATCH", "'4'")),
        ([], {"SCA_PORT": "http"}, ("SCA_PORT", "'http'")),
        ([], {"SCA_PORT": "70000"}, ("SCA_PORT", "'70000'")),
        ([], {"SCA_MAX_BATCH": "0"}, ("SCA_MAX_BATCH", "'0'")),
        ([], {"SCA_DEVICE": "tpu"}, ("SCA_DEVICE", "'tpu'")),
        ([], {"SCA_LOG_LEVEL": "loud"}, ("SCA_LOG_LEVEL", "'loud'")),
        ([], {"SCA_REQUEST_TIMEOUT_S": "-1"}, ("SCA_REQUEST_TIMEOUT_S", "'-1'")),
        ([], {"SCA_MAX_WAIT_MS": "nan"}, ("SCA_MAX_WAIT_MS", "'nan'")),
        (["--max-bath", "3"], {}, ("--max-bath", "3")),
        (["--max-batch", "x"], {}, ("--max-batch", "'x'")),
        (["--max-batch"], {}, ("--max-batch",)),
        (["stray"], {}, ("stray",)),
    ],
)
def test_unknown_and_bad_settings_name_themselves_and_their_value(
    arguments: Sequence[str], environ: Mapping[str, str], named: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(arguments, environ)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in named), message


def test_lists_are_comma_separated() -> None:
    settings = read_settings(
        [], {"SCA_API_KEYS": "one, two", "SCA_CORS_ORIGINS": "https://a.example,https://b.example"}
    )
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert read_settings([], {"SCA_API_KEYS": ""}).api_keys == ()


@pytest.mark.parametrize("origin", ["https://a.example/", "a.example", "https://a.example/x", "https://", "ftp s://x"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(SettingsError, match="SCA_CORS_ORIGINS"):
        read_settings([], {"SCA_CORS_ORIGINS": f"*,http://localhost:3000,{origin}"})


@pytest.mark.parametrize("name", ["SCA_API_KEYS", "SCA_API_KEY", "SCA_TOKEN"])
def test_secrets_are_never_shown(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings([], {name: "hunter2,,"})
    assert "hunter2" not in str(caught.value)
    assert name in str(caught.value)
    assert "hunter2" not in repr(read_settings([], {"SCA_API_KEYS": "hunter2"}))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        read_settings([], {}).port = 1


def test_every_setting_says_what_it_does() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_help_names_each_setting_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"], {})
    told = capsys.readouterr().out
    assert all(told.count(f"  --{name.replace('_', '-')} ") == 1 for name in Settings.model_fields)
    assert "--max_batch" not in told
    assert "--precision {exact,fast}" in told and "--device {auto,cpu,cuda}" in told
