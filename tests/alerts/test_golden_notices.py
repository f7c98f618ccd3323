"""One night of one agent, whole messages in every channel: what arrives on sockets is in golden/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.alerts.story import GOLDEN, KINDS, Receivers, chart, golden_files, told


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with told() as receivers:
        yield receivers


def test_every_message_is_the_golden_one(receivers: Receivers) -> None:
    """Meant to change? `python -m tests.alerts.story`, then look at the pictures."""
    found = golden_files(receivers)
    assert len(found) == 4 * len(KINDS) + 1 + 2 * len(KINDS)
    assert found == {name: (GOLDEN / name).read_text(encoding="utf-8") for name in found}


def test_a_mail_that_fires_shows_its_day(receivers: Receivers) -> None:
    assert chart(receivers.mailbox.messages[0])[:8] == b"\x89PNG\r\n\x1a\n"


def test_one_thread_one_conversation_one_page(receivers: Receivers) -> None:
    first, *replies = receivers.bot.messages
    assert [reply["thread_ts"] for reply in replies] == [first["ts"]] * 2
    mails = receivers.mailbox.messages
    assert {mail["In-Reply-To"] for mail in mails[1:]} == {mails[0]["Message-ID"]}
    events = receivers.web["pagerduty"].bodies
    assert [event["event_action"] for event in events] == ["trigger", "trigger", "resolve"]
    assert len({event["dedup_key"] for event in events}) == 1
