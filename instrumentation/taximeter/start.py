"""`init`: a meter, the model SDKs that are installed, threads that carry the request along."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.sdk.trace.export import SpanExporter

from taximeter import lifecycle
from taximeter.export.queue import ExportQueue, Immediate
from taximeter.guard import guarded
from taximeter.privacy import Privacy, PrivateExporter, PrivateSender, privacy_from_environment
from taximeter.tracing import ClockNs, Meter, resource_for


def init(
    service: str | None = None,
    *,
    environment: str | None = None,
    endpoint: str | None = None,
    span_exporter: SpanExporter | None = None,
    clock: ClockNs | None = None,
    propagate_threads: bool = True,
    privacy: Privacy | None = None,
    budgets: bool | str | None = None,
) -> None:
    """Start measuring: call it once, before or after the model SDKs are imported.

    ``service`` names the program (else ``OTEL_SERVICE_NAME``), ``endpoint`` the collector (else
    ``TAXIMETER_ENDPOINT``, OpenTelemetry's settings, 127.0.0.1:4318). An application's own tracer
    provider is joined, not replaced. ``span_exporter`` (exports at once) and ``clock`` (Unix
    nanoseconds) are for tests and simulations. ``privacy`` says what is masked, hashed and cut before
    it leaves (else ``TAXIMETER_REDACT``, ``TAXIMETER_USER_KEY``, ``TAXIMETER_MAX_CHARACTERS``).
    ``budgets=True`` lets the budgets of alerts.yaml that say ``on_exhausted: stop`` end runs here: the
    collector is asked for them, at ``endpoint`` or at the address that is given instead (else
    ``TAXIMETER_BUDGETS``). Does nothing with ``TAXIMETER_DISABLED=1``.
    """
    if lifecycle.is_disabled():
        return
    # Here, so that a program which only imports its agents does not pay for it.
    from taximeter import spawned, threads
    from taximeter.budgets.watch import watch_for
    from taximeter.clients import anthropic
    from taximeter.export.otlp_http import OtlpHttp

    def make() -> Meter:
        rules = privacy or privacy_from_environment()
        queue: Immediate | ExportQueue
        if span_exporter is not None:
            queue = Immediate(PrivateExporter(span_exporter, rules) if rules else span_exporter)
        else:
            sender = OtlpHttp(endpoint)
            queue = ExportQueue(PrivateSender(sender, rules) if rules else sender)
        fleet = watch_for(budgets, endpoint, user_key=rules.user_key if rules else None)
        meter = Meter(queue, clock, fleet)
        meter.attach(resource_for(service, environment), anthropic.NativeCalls())
        return meter

    if _begin(make):
        if propagate_threads:
            threads.install()
        if span_exporter is None:
            spawned.install(service, environment, endpoint, budgets)


@guarded(default=False)
def _begin(make: Callable[[], Meter]) -> bool:
    if not lifecycle.begin(make):
        return False
    from taximeter.clients import installed

    installed.switch_on()
    return True
