"""Certificates of the collector's ports, and what its readers trust."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taximeter.settings.keys import SettingsError

_PEM_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_PEM_END: Final = "-----END CERTIFICATE-----"


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
            f" ({_why(error)})"
        ) from None
    if files.client_ca is None:
        return
    try:
        context.load_verify_locations(files.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            f"{files.client_ca} holds no certificates in PEM ({_why(error)})"
        ) from None


def reader_context(served: Path | None = None) -> ssl.SSLContext:
    """Return how a reader speaks to a collector by https. Raises SettingsError for wrong files.

    To the collector of this machine, whose certificate file is ``served``, it speaks if that shows
    this very certificate, whatever names are in it. To others it trusts the system's
    authorities, or those of SSL_CERT_FILE. It shows the certificate of TAXIMETER_CLIENT_CERT_FILE
    (with TAXIMETER_CLIENT_KEY_FILE) to a collector that wants one.
    """
    context = ssl.create_default_context() if served is None else _pinned(served)
    if certificate := os.environ.get("TAXIMETER_CLIENT_CERT_FILE"):
        key = os.environ.get("TAXIMETER_CLIENT_KEY_FILE") or None
        try:
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"TAXIMETER_CLIENT_CERT_FILE = {certificate} with TAXIMETER_CLIENT_KEY_FILE ="
                f" {key or 'nothing'} is no certificate with its key in PEM ({_why(error)}):"
                " name both files, or unset both if the collector wants no client certificate."
            ) from None
    return context


def _pinned(served: Path) -> ssl.SSLContext:
    """Return a context that trusts one certificate, the first of the file, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # The certificate itself is the anchor: who signed it need not be known here.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        leaf, end, _ = served.read_text(encoding="ascii", errors="replace").partition(_PEM_END)
        context.load_verify_locations(cadata=leaf[leaf.find(_PEM_BEGIN) :] + end)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"collector.tls_cert_file: {served} is no certificate in PEM ({_why(error)})."
        ) from None
    return context


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
