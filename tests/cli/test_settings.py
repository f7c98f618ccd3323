"""What a user may write in taximeter.toml and the environment, and what the errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from taximeter.settings.secret import Secret
from taximeter.settings.settings import SETTINGS, SettingsError, load_settings


def write(directory: Path, text: str) -> Path:
    file = directory / "taximeter.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_the_defaults_are_those_of_the_contract() -> None:
    settings = load_settings(environ={})
    assert (settings.collector.host, settings.collector.http_port) == ("127.0.0.1", 4318)
    assert (settings.collector.grpc_port, settings.alerts.port) == (4317, 4319)
    assert settings.dashboard.port == 8501
    assert settings.store.data_dir == Path("~/.taximeter").expanduser()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[collector]\nhttp_port = 1\ngrpc_port = 2\n")
    settings = load_settings(file, {"TAXIMETER_COLLECTOR_HTTP_PORT": "0"})
    assert (settings.collector.http_port, settings.collector.grpc_port) == (0, 2)


def test_a_relative_path_is_relative_to_its_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[alerts]\nrules = "alerts.yaml"\n')
    assert load_settings(file, {}).alerts.rules == tmp_path / "alerts.yaml"


def test_the_file_is_found_in_the_data_dir_and_by_its_variable(tmp_path: Path) -> None:
    file = write(tmp_path, "[dashboard]\nport = 99\n")
    assert load_settings(environ={}, data_dir=tmp_path).dashboard.port == 99
    assert load_settings(environ={"TAXIMETER_CONFIG": str(file)}).file == file


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[collector]\nhtp_port = 1\n", 2, "unknown key htp_port in [collector]; allowed are host"),
        ("\n[colector]\n", 2, "unknown section [colector]; allowed are collector, store"),
        ("[alerts]\n\nport = 70000\n", 3, "a port number from 0 to 65535"),
        ("[alerts]\nport = true\n", 2, "alerts.port = True is not allowed"),
        ("collector.host = ''\n", 1, "it must be a host name"),
        ("[store]\nurl = 'mysql:x'\n", 2, '"duckdb:…" or "ducklake:…"'),
        ("collector = 5\n", 1, "write [collector]"),
        ("[collector\n", 1, "not valid TOML"),
    ],
    ids=["key", "section", "range", "boolean", "empty", "store", "no table", "syntax"],
)
def test_a_fault_names_file_line_and_what_is_allowed(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, {})
    assert str(caught.value).startswith(f"{file}:{line}:")
    assert says in str(caught.value)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="TAXIMETER_ALERTS_PROT: unknown key prot"):
        load_settings(environ={"TAXIMETER_ALERTS_PROT": "1"})


def test_other_variables_of_ours_are_left_alone() -> None:
    load_settings(environ={"TAXIMETER_DISABLED": "1", "TAXIMETER_CAPTURE_CONTENT": "1"})


def test_a_missing_config_file_is_said() -> None:
    with pytest.raises(SettingsError, match="no configuration file"):
        load_settings("/nowhere/taximeter.toml", {})


def test_a_token_is_read_from_its_file_and_never_printed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    file = write(tmp_path, '[collector]\nquery_token_file = "token"\n')
    settings = load_settings(file, {"TAXIMETER_INGEST_TOKEN": "hunter3"})
    assert settings.collector.query_token == Secret("hunter2")
    assert settings.collector.ingest_token == Secret("hunter3")
    assert "hunter" not in repr(settings)


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    file = write(tmp_path, '[collector]\ningest_token_file = "token"\n')
    with pytest.raises(SettingsError, match="is empty"):
        load_settings(file, {})


def test_every_setting_is_described_for_the_docs() -> None:
    assert all(setting.description and setting.allowed for setting in SETTINGS)
