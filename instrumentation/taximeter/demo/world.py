"""The company that the demo pretends to be: its customers, its services and its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

Service = Literal["support-desk", "deep-research", "code-assistant", "nightly-digest"]

OPUS: Final = "claude-opus-5-5"
SONNET: Final = "claude-sonnet-5-5"
HAIKU: Final = "claude-haiku-5-5"
GPT: Final = "gpt-5.4"
GPT_MINI: Final = "gpt-5.4-mini"
GPT_DEAR: Final = "gpt-5.5"
EMBEDDING: Final = "text-embedding-3-small"
SELF_HOSTED: Final = "acme-summarizer-8b"
"""A model of the company's own that no price list knows."""

TOKENS_PER_SECOND: Final[Mapping[str, float]] = {
    OPUS: 60,
    SONNET: 85,
    HAIKU: 170,
    GPT: 80,
    GPT_MINI: 150,
    GPT_DEAR: 65,
    SELF_HOSTED: 40,
}

TENANTS: Final[Mapping[str, int]] = {
    "northwind": 24,
    "contoso": 18,
    "fabrikam": 14,
    "globex": 11,
    "initech": 9,
    "umbra-health": 7,
    "hooli-retail": 6,
    "stark-logistics": 4,
    "wayne-insurance": 3,
    "tyrell-bio": 2,
}
"""Customers, by their share of the traffic."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a customer's user in a session of theirs."""

    tenant: str
    user: str
    session: str


def pick_caller(rng: Random) -> Caller:
    """Return a caller; the same users come back, a session is new."""
    tenant = rng.choices(list(TENANTS), weights=list(TENANTS.values()))[0]
    number = 1 + min(int(rng.expovariate(0.15)), 40)
    return Caller(tenant, f"{tenant}-u{number:02d}", f"s-{rng.getrandbits(40):010x}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A kind of support ticket and the tools that settle it, in order."""

    subject: str
    question: str
    tools: tuple[str, ...]
    weight: int


TICKETS: Final = (
    Ticket(
        "duplicate charge", "I was charged twice this month.", ("list_payments", "issue_refund"), 9
    ),
    Ticket("parcel is late", "Where is my order?", ("lookup_order", "track_parcel"), 14),
    Ticket("password reset", "The reset mail never arrives.", ("search_help_center",), 10),
    Ticket("cancel subscription", "Please cancel my plan.", ("lookup_customer", "cancel_plan"), 6),
    Ticket("wrong item", "You sent me the wrong size.", ("lookup_order", "create_return"), 7),
    Ticket("invoice copy", "I need last month's invoice.", ("list_payments", "send_invoice"), 6),
    Ticket(
        "upgrade plan", "How do I add five seats?", ("search_help_center", "lookup_customer"), 5
    ),
    Ticket("app keeps crashing", "The app closes at start.", ("search_help_center", "open_bug"), 6),
    Ticket("data export", "How do I export my data?", ("search_help_center",), 4),
    Ticket(
        "refund not arrived",
        "My refund is still missing.",
        ("lookup_order", "list_payments", "search_help_center", "issue_refund"),
        5,
    ),
)


@dataclass(frozen=True, slots=True)
class Question:
    """A research question and what its sub-agents look into."""

    subject: str
    threads: tuple[str, ...]


QUESTIONS: Final = (
    Question("EU battery supply chain", ("lithium refining capacity", "recycling rules", "prices")),
    Question("competitor pricing Q4", ("list prices", "discount programmes", "customer reviews")),
    Question("grid storage outlook 2030", ("installed capacity", "policy", "technology costs")),
    Question("GLP-1 market landscape", ("approvals", "pipeline", "payer coverage")),
    Question("port congestion in Asia", ("vessel queues", "freight rates", "labour disputes")),
    Question("AI regulation tracker", ("EU acts", "US state laws", "enforcement cases")),
    Question("churn drivers in telecom", ("surveys", "switching data", "tariff changes")),
    Question("heat pump subsidies", ("national schemes", "uptake figures", "installer capacity")),
)

CODE_TASKS: Final = (
    ("Fix flaky test in billing", "tests/test_billing.py"),
    ("Add pagination to orders API", "src/orders/api.py"),
    ("Upgrade payment client", "src/payments/client.py"),
    ("Explain failing build", "ci/build.yaml"),
    ("Refactor invoice rendering", "src/invoices/render.py"),
    ("Write migration for tax rates", "migrations/0142_tax_rates.py"),
    ("Review pull request", "src/accounts/models.py"),
    ("Speed up search query", "src/search/query.py"),
)
