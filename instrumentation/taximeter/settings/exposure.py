"""Who may reach a port: this machine only, unless tokens and TLS guard it."""

from __future__ import annotations

import ipaddress

from taximeter.settings.settings import CollectorSettings, Settings, SettingsError


def check_exposure(settings: CollectorSettings) -> None:
    """Raise SettingsError if the ports would be open to others without tokens, or in plain text."""
    if is_loopback(settings.host):
        return
    missing = [
        variable
        for variable, token in (
            ("TAXIMETER_INGEST_TOKEN", settings.ingest_token),
            ("TAXIMETER_QUERY_TOKEN", settings.query_token),
        )
        if token is None
    ]
    if missing:
        raise SettingsError(
            f"collector.host = {settings.host} would let anybody on the network send and read"
            f" telemetry: set {' and '.join(missing)}, or stay on 127.0.0.1."
        )
    if settings.tls is None and not settings.is_insecure:
        raise SettingsError(
            f"collector.host = {settings.host} without TLS would send tokens and telemetry in plain"
            " text: set collector.tls_cert_file and collector.tls_key_file, or start with --insecure"
            " behind a proxy that speaks TLS."
        )


def check_dashboard_exposure(settings: Settings) -> None:
    """Raise SettingsError if others could open the page without signing in, or it is set up by halves."""
    page, insecure = settings.dashboard, settings.collector.is_insecure
    if page.oidc_file is not None:
        if page.viewer_token or page.editor_token:
            raise SettingsError(
                "dashboard.oidc_file and tokens of the dashboard exclude each other: take one out."
            )
        if not page.viewers and not page.editors:
            raise SettingsError(
                "dashboard.oidc_file lets people sign in, but nobody is named: list their e-mail"
                " addresses in dashboard.editors or dashboard.viewers."
            )
    if is_loopback(page.host):
        return
    if not page.has_sign_in:
        raise SettingsError(
            f"dashboard.host = {page.host} would show anybody on the network what agents cost and say:"
            " set TAXIMETER_EDITOR_TOKEN or dashboard.oidc_file, or stay on 127.0.0.1."
        )
    if settings.collector.tls is None and not insecure:
        raise SettingsError(
            f"dashboard.host = {page.host} without TLS would send tokens and pages in plain text:"
            " set collector.tls_cert_file and collector.tls_key_file, or start with --insecure"
            " behind a proxy that speaks TLS."
        )


def is_loopback(host: str) -> bool:
    """Return whether an address is reachable from this machine only.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
