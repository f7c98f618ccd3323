"""OTLP over gRPC: the three Export services and grpc.health.v1, in the same event loop as HTTP.

The handlers take raw bytes: a stock server answers INTERNAL to a malformed message, and clients
drop on that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from taximeter.settings.secret import Secret
from taximeter.settings.tls import TlsFiles
from taximeter_collector.ingest.decode import Signal
from taximeter_collector.receivers.acceptance import Acceptor, accept, say
from taximeter_collector.receivers.responses import (
    NotAuthorised,
    refusal_of,
    retry_trailers,
    success_body,
)

SERVICES: Final[dict[Signal, str]] = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
Context = grpc.aio.ServicerContext[bytes, bytes]
Handler = Callable[[bytes, Context], Awaitable[bytes]]


class GrpcReceiver:
    """A gRPC server on one port; `start` returns the port that it got."""

    def __init__(
        self, ingest: Acceptor, limit: int, token: Secret | None, tls: TlsFiles | None = None
    ) -> None:
        self._credentials = None if tls is None else _credentials(tls)
        self._server = grpc.aio.server(options=_options(limit))
        # The type stubs do not know the asyncio half of the package.
        health_package: Any = health
        self._health = health_package.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(
                    service,
                    {"Export": grpc.unary_unary_rpc_method_handler(_export(signal, ingest, token))},
                )
                for signal, service in SERVICES.items()
            )
        )

    async def start(self, host: str, port: int) -> int:
        """Listen and serve. Raises OSError if the address can't be had."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = (
                self._server.add_insecure_port(address)
                if self._credentials is None
                else self._server.add_secure_port(address, self._credentials)
            )
        except RuntimeError:
            bound = 0
        if not bound:
            raise OSError(
                f"gRPC cannot listen on {address}: stop what has that port, or choose another with"
                " TAXIMETER_COLLECTOR_GRPC_PORT"
            )
        await self._server.start()
        for service in ("", *SERVICES.values()):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return bound

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones end."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    client_ca = None if tls.client_ca is None else tls.client_ca.read_bytes()
    return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=bool(client_ca))


def _options(limit: int) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", limit),
        # Two collectors on one port would each get some of the spans.
        ("grpc.so_reuseport", 0),
        # Clients ping every 10 s; by default that is answered with GOAWAY.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _export(signal: Signal, ingest: Acceptor, token: Secret | None) -> Handler:
    async def export(body: bytes, context: Context) -> bytes:
        try:
            if token is not None:
                _authorise(context, token)
            outcome = await accept(ingest, signal, body)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal.http_status == 503:
                say("gRPC UNAVAILABLE", f"refused: {type(error).__name__}: {error}")
            await context.abort(refusal.grpc_code, refusal.message, retry_trailers(refusal))
            raise  # for the type checker: abort has raised
        return success_body(signal, outcome, "protobuf")

    return export


def _authorise(context: Context, token: Secret) -> None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            scheme, _, given = text.partition(" ")
            if scheme.lower() == "bearer" and token.matches(given.strip()):
                return
    raise NotAuthorised("send the metadata authorization: Bearer with the ingest token")
