"""Who is heard: TLS and client certificates on both ports (C10), tokens and their rotation (T1, T16)."""

from __future__ import annotations

import hmac
import http.client
import logging
import socket
import ssl
from pathlib import Path

import grpc
import pytest

from taximeter.budgets.asking import Asker, Unanswered
from taximeter.read_query import QueryFailed, read_query
from taximeter.settings.secret import SecretFile
from taximeter.settings.settings import SettingsError, load_settings
from taximeter_collector.client import QueryError, ReadClient

from .certificates import Authority, Pair
from .conformance import export
from .conftest import Edges, Start
from .test_grpc_receiver import failure

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def served(authority: Authority) -> Pair:
    return authority.issue("server")


def tls(pair: Pair, client_ca: Path | None = None) -> dict[str, str]:
    files = {
        "TAXIMETER_COLLECTOR_TLS_CERT_FILE": str(pair.certificate),
        "TAXIMETER_COLLECTOR_TLS_KEY_FILE": str(pair.key),
    }
    return files | ({"TAXIMETER_COLLECTOR_TLS_CLIENT_CA_FILE": str(client_ca)} if client_ca else {})


def post(edges: Edges, authority: Authority, client: Pair | None = None) -> int:
    context = ssl.create_default_context(cafile=str(authority.own.certificate))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", edges.addresses.http_port, context=context, timeout=30
    )
    try:
        connection.request("POST", "/v1/traces", b"", PROTOBUF)
        return connection.getresponse().status
    finally:
        connection.close()


def secure(edges: Edges, authority: Authority, client: Pair | None = None) -> grpc.Channel:
    key, chain = (
        (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None,) * 2
    )
    credentials = grpc.ssl_channel_credentials(authority.own.certificate.read_bytes(), key, chain)
    return grpc.secure_channel(edges.grpc_address, credentials)


def test_both_ports_speak_tls(start_edges: Start, authority: Authority, served: Pair) -> None:
    """C10: certificate and key files serve TLS over HTTP and gRPC."""
    edges = start_edges(**tls(served))
    assert post(edges, authority) == 200
    with secure(edges, authority) as channel:
        assert export(channel, b"") == b""


def test_a_client_that_trusts_another_authority_hangs_up(
    start_edges: Start, authority: Authority, served: Pair, tmp_path: Path
) -> None:
    """C10: a wrong CA is an error of the client, UNAVAILABLE over gRPC."""
    edges, other = start_edges(**tls(served)), Authority(tmp_path, "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        post(edges, other)
    with secure(edges, other) as channel:
        assert failure(channel).code().name == "UNAVAILABLE"
    assert edges.ingest.submitted == []
    assert post(edges, authority) == 200


def test_an_expired_certificate_is_refused_by_clients(
    start_edges: Start, authority: Authority
) -> None:
    """C10: an expired certificate is refused."""
    edges = start_edges(**tls(authority.issue("old", is_expired=True)))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired|not yet valid"):
        post(edges, authority)
    with secure(edges, authority) as channel:
        assert failure(channel).code().name == "UNAVAILABLE"


def test_plaintext_to_a_tls_port_gets_no_data(start_edges: Start, served: Pair) -> None:
    """C10: plaintext to a TLS port gets no data."""
    edges = start_edges(**tls(served))
    with socket.create_connection(("127.0.0.1", edges.addresses.http_port), timeout=30) as plain:
        plain.sendall(b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = plain.recv(4096)
    assert b"HTTP/1.1 200" not in answer and b"version" not in answer
    with grpc.insecure_channel(edges.grpc_address) as channel:
        assert failure(channel).code().name == "UNAVAILABLE"


def test_only_clients_with_a_certificate_of_the_authority_are_heard(
    start_edges: Start, authority: Authority, served: Pair, tmp_path: Path
) -> None:
    """C10: mTLS on both ports."""
    edges = start_edges(**tls(served, authority.own.certificate))
    known, stranger = authority.issue("client"), Authority(tmp_path, "strangers").issue("client")
    for wrong in (None, stranger):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            post(edges, authority, wrong)
        with secure(edges, authority, wrong) as channel:
            assert failure(channel).code().name == "UNAVAILABLE"
    assert edges.ingest.submitted == []
    assert post(edges, authority, known) == 200
    with secure(edges, authority, known) as channel:
        assert export(channel, b"") == b""


def test_our_own_readers_ask_over_tls(
    start_edges: Start, authority: Authority, served: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = start_edges(**tls(served, authority.own.certificate))
    url = f"https://127.0.0.1:{edges.addresses.http_port}"
    with pytest.raises(QueryFailed):
        read_query(url, "select 1")
    client = authority.issue("reader")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.certificate))
    monkeypatch.setenv("TAXIMETER_CLIENT_CERT_FILE", str(client.certificate))
    monkeypatch.setenv("TAXIMETER_CLIENT_KEY_FILE", str(client.key))
    assert read_query(url, "select 1 as x")["rows"] == [[1]]
    with ReadClient(url) as reader:
        assert reader.query("select 1 as x").to_pydict() == {"x": [1]}


def test_local_readers_know_the_certificate_whatever_its_names(
    start_edges: Start, authority: Authority, served: Pair
) -> None:
    """Nothing but the very certificate that is configured is accepted: no other of its authority."""
    public = authority.issue("public", names="DNS:taximeter.example.org")
    edges = start_edges(**tls(public))
    url = f"https://127.0.0.1:{edges.addresses.http_port}"
    assert read_query(url, "select 1 as x", served=public.certificate)["rows"] == [[1]]
    with ReadClient(url, served=public.certificate) as reader:
        assert reader.query("select 1 as x").to_pydict() == {"x": [1]}
    chain = public.certificate.with_name("chain.pem")
    chain.write_bytes(public.certificate.read_bytes() + authority.own.certificate.read_bytes())
    assert read_query(url, "select 1 as x", served=chain)["rows"] == [[1]]
    for other in (None, served.certificate):
        with pytest.raises(QueryFailed, match=r"certificate verify failed|CERTIFICATE"):
            read_query(url, "select 1", served=other)


@pytest.mark.parametrize("key", [None, "missing.key", "other"])
def test_a_wrong_client_certificate_is_one_sentence(
    key: str | None, authority: Authority, served: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "TAXIMETER_CLIENT_CERT_FILE", str(served.certificate if key == "other" else "missing.pem")
    )
    if key is not None:
        monkeypatch.setenv(
            "TAXIMETER_CLIENT_KEY_FILE", str(authority.own.key) if key == "other" else key
        )
    with pytest.raises(
        SettingsError, match=r"TAXIMETER_CLIENT_CERT_FILE = .* unset both"
    ) as caught:
        ReadClient("https://127.0.0.1:1")
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="TAXIMETER_CLIENT_KEY_FILE"):
        read_query("https://127.0.0.1:1", "select 1")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"CERT": "cert"}, "set both"),
        ({"KEY": "key"}, "set both"),
        ({"CERT": "key", "KEY": "cert"}, "are not a certificate with its key"),
        ({"CERT": "missing", "KEY": "key"}, "are not a certificate with its key"),
        ({"CERT": "cert", "KEY": "key", "CLIENT_CA": "key"}, "holds no certificates"),
    ],
    ids=["no key", "no certificate", "swapped", "missing", "no authority"],
)
def test_wrong_files_are_one_sentence(
    given: dict[str, str], sentence: str, served: Pair, tmp_path: Path
) -> None:
    files = {"cert": served.certificate, "key": served.key, "missing": tmp_path / "missing"}
    environment = {f"TAXIMETER_COLLECTOR_TLS_{k}_FILE": str(files[v]) for k, v in given.items()}
    with pytest.raises(SettingsError, match=sentence) as caught:
        load_settings(environ=environment)
    assert "\n" not in str(caught.value)


def bearer(token: str) -> dict[str, str]:
    return {**PROTOBUF, "Authorization": f"Bearer {token}"}


def test_tokens_rotate_without_a_restart(start_edges: Start, tmp_path: Path) -> None:
    """Two lines are two valid tokens, over HTTP and gRPC; the file is read again when it changes."""
    file = tmp_path / "tokens"
    file.write_text("old-token\n")
    edges = start_edges(TAXIMETER_COLLECTOR_INGEST_TOKEN_FILE=str(file))

    def heard(token: str) -> bool:
        status = edges.ask("POST", "/v1/traces", b"", bearer(token))[0]
        metadata = (("authorization", f"Bearer {token}"),)
        with grpc.insecure_channel(edges.grpc_address) as channel:
            if status == 200:
                export(channel, b"", metadata=metadata)
            else:
                assert failure(channel, metadata=metadata).code().name == "UNAUTHENTICATED"
        return status == 200

    assert (heard("old-token"), heard("new-token")) == (True, False)
    file.write_text("new-token\nold-token\n")
    assert (heard("old-token"), heard("new-token")) == (True, True)
    file.write_text("new-token\n")
    assert (heard("old-token"), heard("new-token")) == (False, True)
    for damage in ("", "  \n"):
        file.write_text(damage)
        assert heard("new-token") and not heard("")
    file.unlink()
    assert heard("new-token")


def test_the_first_line_is_the_one_to_send(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("\nnew\nold\n")
    secret = SecretFile(file)
    assert secret.reveal() == "new" and secret.matches("old") and not secret.matches("new\nold")
    assert "new" not in f"{secret} {secret!r}"


def test_tokens_are_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T1: each valid token is compared whole with the given one, by `hmac.compare_digest`, whichever fits."""
    file, compared = tmp_path / "tokens", list[tuple[bytes, bytes]]()
    file.write_text("new\nold\n")
    secret, digest = SecretFile(file), hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return digest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for candidate, fits in (("new", True), ("old", True), ("nope", False)):
        compared.clear()
        assert secret.matches(candidate) is fits
        assert compared == [(b"new", candidate.encode()), (b"old", candidate.encode())]


def test_comments_in_a_token_file_are_no_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# rotated on Monday\nnew\n  # old: until Friday\nold\n")
    secret = SecretFile(file)
    assert secret.reveal() == "new" and secret.matches("old")
    assert not secret.matches("# rotated on Monday") and not secret.matches("# old: until Friday")
    file.write_text("# none yet\n")
    with pytest.raises(ValueError, match="no token"):
        SecretFile(file)


def test_ten_thousand_wrong_tokens_store_nothing_and_are_not_logged(
    start_edges: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """T1 and T16: guesses are refused and neither they nor the token reach a log line."""
    edges = start_edges(TAXIMETER_INGEST_TOKEN="the-right-one", TAXIMETER_QUERY_TOKEN="reader")
    connection = http.client.HTTPConnection("127.0.0.1", edges.addresses.http_port, timeout=30)
    with caplog.at_level(logging.DEBUG):
        for i in range(10_000):
            connection.request("POST", "/v1/traces", b"", bearer(f"guess-{i}"))
            response = connection.getresponse()
            body = response.read()
            assert response.status == 401 and b"guess" not in body and b"right" not in body
        connection.close()
        with ReadClient(edges.url, token="guess-x") as client, pytest.raises(QueryError):
            client.query("select 1")
    assert edges.ingest.submitted == []
    assert "guess-" not in caplog.text and "the-right-one" not in caplog.text


def test_agents_ask_for_budgets_over_tls_as_they_send_spans(
    start_edges: Start, authority: Authority, served: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = start_edges(**tls(served, authority.own.certificate))
    url = f"https://127.0.0.1:{edges.addresses.http_port}/v1/budgets"
    with pytest.raises(Unanswered, match="SSLError"):
        Asker(url).ask(None)
    client = authority.issue("agent")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(authority.own.certificate))
    with pytest.raises(Unanswered, match="no answer from https"):
        Asker(url).ask(None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(client.certificate))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", str(client.key))
    reply = Asker(url).ask(None)
    assert reply.age_s is None and reply.body is not None
