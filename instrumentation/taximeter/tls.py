"""Certificates of the collector's ports, and what its readers trust."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the collector's certificate with its chain, its key, the CA of allowed clients."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


def check_tls(files: TlsFiles) -> None:
    """Raise ValueError with one sentence if the files can't serve TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            f"{files.certificate} and {files.key} are not a certificate with its key in PEM"
            f" ({getattr(error, 'reason', None) or error.strerror})"
        ) from None
    if files.client_ca is None:
        return
    try:
        context.load_verify_locations(files.client_ca)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise ValueError(f"{files.client_ca} holds no certificates in PEM ({reason})") from None


def reader_context() -> ssl.SSLContext:
    """Return how a reader speaks to a collector by https.

    It trusts the system's authorities, or those of SSL_CERT_FILE, and shows the certificate of
    TAXIMETER_CLIENT_CERT_FILE (with TAXIMETER_CLIENT_KEY_FILE) to a collector that wants one.
    """
    context = ssl.create_default_context()
    if certificate := os.environ.get("TAXIMETER_CLIENT_CERT_FILE"):
        context.load_cert_chain(certificate, os.environ.get("TAXIMETER_CLIENT_KEY_FILE"))
    return context
