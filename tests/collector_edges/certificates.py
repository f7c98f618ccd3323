"""An authority and certificates for 127.0.0.1, made by openssl when a test asks."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM files of one certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority of its own in a directory."""

    def __init__(self, home: Path, name: str = "ca") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home, self.own = home, Pair(home / f"{name}.pem", home / f"{name}.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-days", "30", "-subj", f"/CN={name}", "-keyout", self.own.key,
                 "-out", self.own.certificate)  # fmt: skip

    def issue(
        self, name: str, *, is_expired: bool = False, names: str = "IP:127.0.0.1,DNS:localhost"
    ) -> Pair:
        """Return a certificate for 127.0.0.1 and localhost, or for ``names`` as openssl writes them."""
        pair = Pair(self._home / f"{name}.pem", self._home / f"{name}.key")
        request, extensions = self._home / f"{name}.csr", self._home / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request)  # fmt: skip
        life = ("-not_before", "20200101000000Z", "-not_after", "20200201000000Z")
        try:
            _openssl("x509", "-req", "-in", request, "-CA", self.own.certificate, "-CAkey", self.own.key,
                     "-CAcreateserial", "-extfile", extensions, "-out", pair.certificate,
                     *(life if is_expired else ("-days", "30")))  # fmt: skip
        except subprocess.CalledProcessError:
            # openssl 3.0 has no -not_after here: a certificate that ends the day before it begins
            _openssl("x509", "-req", "-in", request, "-CA", self.own.certificate, "-CAkey", self.own.key,
                     "-CAcreateserial", "-extfile", extensions, "-out", pair.certificate, "-days", "-1")  # fmt: skip
        return pair


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
