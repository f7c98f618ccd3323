"""taximeter.toml and TAXIMETER_<SECTION>_<KEY> in, one frozen Settings out.

Every fault is a `SettingsError`: one sentence with the file, the line, the key and what is allowed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from taximeter.settings.keys import DEFAULT_DATA_DIR, POLLING, SETTINGS, Setting, SettingsError
from taximeter.settings.rule_rows import SECTION as DIALECTS
from taximeter.settings.rule_rows import RuleRow, read_rule_rows
from taximeter.settings.secret import Secret, SecretFile
from taximeter.settings.tls import TlsFiles, check_tls

__all__ = ["SETTINGS", "Settings", "SettingsError", "load_settings"]

FILE_NAME: Final = "taximeter.toml"


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    host: str
    http_port: int
    grpc_port: int
    max_request_mib: int
    """The largest request body, before and after decompression."""
    ingest_token: Secret | None
    query_token: Secret | None
    tls: TlsFiles | None = None
    """Both ports speak TLS only; None for plaintext."""
    is_insecure: bool = False
    """Plaintext beyond loopback is wanted."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    data_dir: Path
    url: str
    memory: str = "256MB"
    retention_days: int = 0
    """Days that spans, logs and metrics are kept; 0 for ever."""
    content_retention_days: int = 0
    """Days that what agents say is kept; 0 as long as the spans."""
    rollup_retention_days: int = 0
    """Days that calls, requests and the other roll-ups are kept; 0 for ever."""
    checkpoint_threshold: str = "64MB"
    """A write-ahead log of this size is worked into its data file."""
    min_free_bytes: int = 1 << 30
    """With less free on the disk, no telemetry is taken in."""


@dataclass(frozen=True, slots=True)
class PricesSettings:
    file: Path | None
    """The user's own prices; they win over the shipped ones."""


@dataclass(frozen=True, slots=True)
class ToolsSettings:
    """What a repeated tool call is."""

    polling: tuple[str, ...] = POLLING
    mutating: tuple[str, ...] = ()
    volatile_arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RedactionSettings:
    """What is masked or thrown away before it is stored."""

    built_in: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    deny_keys: tuple[str, ...] = ()
    allow_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertsSettings:
    host: str
    port: int
    rules: Path | None


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    host: str
    port: int
    viewer_token: Secret | None = None
    editor_token: Secret | None = None
    oidc_file: Path | None = None
    """People sign in at the provider that it names."""
    viewers: tuple[str, ...] = ()
    editors: tuple[str, ...] = ()
    content: Literal["everyone", "editors", "nobody"] = "everyone"
    """Who may read what agents were told and said."""

    @property
    def has_sign_in(self) -> bool:
        return any((self.viewer_token, self.editor_token, self.oidc_file))


@dataclass(frozen=True, slots=True)
class Settings:
    collector: CollectorSettings
    store: StoreSettings
    prices: PricesSettings
    tools: ToolsSettings
    alerts: AlertsSettings
    dashboard: DashboardSettings
    redaction: RedactionSettings
    dialects: tuple[RuleRow, ...]
    """Rows for the collector's dialect rules, unchecked."""
    file: Path | None
    """The taximeter.toml that was read; None if there is none."""


_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
_SECTIONS: Final = tuple(dict.fromkeys(setting.section for setting in SETTINGS))
_FILE_SECTIONS: Final = (*_SECTIONS, DIALECTS)


def load_settings(
    config_path: Path | str | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    data_dir: Path | str | None = None,
) -> Settings:
    """Read the settings: defaults, then the file, then the environment, then `data_dir`.

    Raises SettingsError for anything that is unknown or not allowed.
    """
    file = _find_file(config_path, environ, data_dir)
    values: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}
    if file is not None:
        values.update(_read_file(file))
    values.update(_read_environment(environ))
    if data_dir is not None:
        values["store.data_dir"] = Path(data_dir).expanduser()
    return _build(values, environ, file)


def _find_file(
    config_path: Path | str | None, environ: Mapping[str, str], data_dir: Path | str | None
) -> Path | None:
    named = config_path or environ.get("TAXIMETER_CONFIG")
    if named:
        file = Path(named).expanduser()
        if not file.is_file():
            raise SettingsError(f"There is no configuration file {file}: check --config.")
        return file
    home = Path(data_dir or environ.get("TAXIMETER_STORE_DATA_DIR") or DEFAULT_DATA_DIR)
    candidates = (Path(FILE_NAME), home.expanduser() / FILE_NAME)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_toml_fault(file, str(error))) from error
    values: dict[str, Any] = {}
    for section, keys in document.items():
        where = f"{file}:{_line_of(text, section)}"
        if section not in _FILE_SECTIONS:
            raise SettingsError(
                f"{where}: unknown section [{section}]; allowed are {_listed(_FILE_SECTIONS)}."
            )
        if section == DIALECTS:
            try:
                values[DIALECTS] = read_rule_rows(keys, str(file), text)
            except (TypeError, ValueError) as error:
                raise SettingsError(f"{where}: {error}.") from None
            continue
        if not isinstance(keys, dict):
            raise SettingsError(f"{where}: {section} must be a section: write [{section}].")
        for key, value in keys.items():
            where = f"{file}:{_line_of(text, section, key)}"
            setting = _known(section, key, where)
            parsed = _parsed(setting, value, where)
            # A relative path in a file means relative to that file, wherever we are started.
            values[setting.name] = file.parent / parsed if setting.is_path else parsed
    return values


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, value in sorted(environ.items()):
        match = re.fullmatch(f"TAXIMETER_({'|'.join(_SECTIONS).upper()})_(.+)", variable)
        if match is None or value == "":
            continue
        where = f"environment variable {variable}"
        setting = _known(match[1].lower(), match[2].lower(), where)
        values[setting.name] = _parsed(setting, value, where)
    return values


def _known(section: str, key: str, where: str) -> Setting:
    setting = _BY_NAME.get(f"{section}.{key}")
    if setting is None:
        keys = [known.key for known in SETTINGS if known.section == section]
        raise SettingsError(
            f"{where}: unknown key {key} in [{section}]; allowed are {_listed(keys)}."
        )
    return setting


def _parsed(setting: Setting, value: Any, where: str) -> Any:
    try:
        return setting.parse(value)
    except ValueError:
        raise SettingsError(
            f"{where}: {setting.name} = {value!r} is not allowed; it must be {setting.allowed}."
        ) from None


def _build(values: Mapping[str, Any], environ: Mapping[str, str], file: Path | None) -> Settings:
    def token(kind: str, section: str = "collector") -> Secret | None:
        setting = f"{section}.{kind}_token_file"
        return _token(environ.get(f"TAXIMETER_{kind.upper()}_TOKEN"), setting, values[setting])

    return Settings(
        collector=CollectorSettings(
            host=values["collector.host"],
            http_port=values["collector.http_port"],
            grpc_port=values["collector.grpc_port"],
            max_request_mib=values["collector.max_request_mib"],
            ingest_token=token("ingest"),
            query_token=token("query"),
            tls=_tls(values),
            is_insecure=values["collector.insecure"],
        ),
        store=StoreSettings(
            values["store.data_dir"].expanduser(),
            values["store.url"],
            values["store.memory"],
            values["store.retention_days"],
            values["store.content_retention_days"],
            values["store.rollup_retention_days"],
            values["store.checkpoint_threshold"],
            values["store.min_free_bytes"],
        ),
        prices=PricesSettings(values["prices.file"]),
        tools=ToolsSettings(
            values["tools.polling"], values["tools.mutating"], values["tools.volatile_arguments"]
        ),
        alerts=AlertsSettings(values["alerts.host"], values["alerts.port"], values["alerts.rules"]),
        dashboard=DashboardSettings(
            values["dashboard.host"],
            values["dashboard.port"],
            token("viewer", "dashboard"),
            token("editor", "dashboard"),
            values["dashboard.oidc_file"],
            values["dashboard.viewers"],
            values["dashboard.editors"],
            values["dashboard.content"],
        ),
        redaction=RedactionSettings(
            *(values[f"redaction.{key}"] for key in RedactionSettings.__slots__)
        ),
        dialects=values.get(DIALECTS, ()),
        file=file,
    )


def _token(from_environment: str | None, setting: str, file: Path | None) -> Secret | None:
    if from_environment:
        return Secret(from_environment)
    if file is None:
        return None
    try:
        return SecretFile(file)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{setting}: {file} cannot be read ({type(error).__name__})."
        ) from error
    except ValueError:
        raise SettingsError(f"{setting}: {file} is empty; write the token in it.") from None


def _tls(values: Mapping[str, Any]) -> TlsFiles | None:
    certificate, key, client_ca = (
        values[f"collector.tls_{name}_file"] for name in ("cert", "key", "client_ca")
    )
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise SettingsError(
            "TLS needs collector.tls_cert_file and collector.tls_key_file: set both."
        )
    files = TlsFiles(certificate, key, client_ca)
    try:
        check_tls(files)
    except ValueError as error:
        raise SettingsError(f"collector.tls_*_file: {error}.") from None
    return files


def _line_of(text: str, section: str, key: str | None = None) -> int:
    """Return the 1-based line of a section or key; tomllib keeps no positions.

    >>> _line_of("[a]\\nx = 1\\n[b]\\nx = 2\\n", "b", "x")
    4
    """
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?\s*([\w.\"'-]+)\s*\]", line):
            current = header[1].strip("\"'")
            if key is None and current.split(".")[0] == section:
                return number
        elif assigned := re.match(r"\s*([\w.\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=", line):
            name = re.sub(r"[\s\"']", "", assigned[1])
            path = f"{current}.{name}" if current else name
            wanted = section if key is None else f"{section}.{key}"
            if path == wanted or path.startswith(wanted + "."):
                return number
    return 1


def _toml_fault(file: Path, message: str) -> str:
    position = re.search(r"\(at line (\d+), column (\d+)\)", message)
    reason = re.sub(r"\s*\(at [^)]*\)", "", message)
    where = f"{file}:{position[1]}:{position[2]}" if position else f"{file}"
    return f"{where}: not valid TOML: {reason}."


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names)
