"""alerts.yaml is read strictly: what is wrong is said with line, column and a way out."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from taximeter_alerts.__main__ import main
from taximeter_alerts.rules.book import Condition, group_labels
from taximeter_alerts.rules.rules_file import RulesError, load_rules, parse_rules

DOCUMENT = Path(__file__).parents[2] / "docs" / "alerts.md"
ENVIRON = {
    "SLACK_WEBHOOK_URL": "https://hooks.slack.example/T/B/x",
    "SLACK_BOT_TOKEN": "xoxb-1",
    "PAGERDUTY_KEY": "k",
    "TEAMS_WORKFLOW_URL": "https://teams.example/x",
    "HOOK_URL": "https://hook.example/x",
    "HOOK_SECRET": "whsec_x",
    "APPRISE_URL": "json://hook.example",
    "SMTP_PASSWORD": "pw",
    "SMTP_USERNAME": "me",
}

DEFAULTS = {
    "cost-per-request", "error-rate", "loop-length", "tool-errors", "provider-outage",
    "agent-quiet", "everything-quiet", "cache-drop", "dear-request",
}  # fmt: skip

BAD = """\
version: 1
notify:
  ops: {slack: "https://hooks.slack.example/secret"}
rules:
  - name: cost-spike
    watch: cost_per_requests
    by: [agnt]
    when: spike 3x
    for: 5 minutes
  - name: b
    watch: error_rate
    when: rises a lot
    at_leest: {errors: 5}
  - {name: c, watch: cache_hit_ratio, when: burning 2%, by: agent_name}
  - {name: c, watch: cost_usd, when: spike 2x, notify: [oops], severity: high}
  - name: d
    watch: cost_usd
    watch: cost_usd
    when: above $5x
"""

FAULTS = """\
f.yaml:3:16: receiver ops: slack: a secret is written as env:NAME or file:/path, never in the file
f.yaml:6:12: rule cost-spike: watch: unknown metric 'cost_per_requests'; did you mean \
'cost_per_request_usd'?
f.yaml:7:10: rule cost-spike: by: unknown dimension 'agnt'; did you mean 'agent_name'?
f.yaml:9:10: rule cost-spike: for: not a duration: '5 minutes' (write 30s, 5m, 2h or 1d)
f.yaml:12:11: rule b: when: cannot read 'rises a lot'; write spike or spike 3x, drop or drop 50%, \
above $2 or above 5%, below 60%, silent or silent 1h, burning 99%, budget $100 per day (or week, \
or month)
f.yaml:13:5: rule b: unknown key 'at_leest'; did you mean 'at_least'?
f.yaml:14:45: rule c: when: 'burning' needs one of: error_rate, tool_error_rate, call_error_rate; \
of money it is a budget's level
f.yaml:15:12: rule c: name: there is a rule of this name already
f.yaml:15:38: rule c: when: a spike of 'cost_usd' is not supported; write above or below
f.yaml:15:57: rule c: notify: unknown receiver 'oops'; did you mean 'ops'?
f.yaml:15:74: rule c: severity: 'high' is not allowed; use one of: info, warning, critical
f.yaml:18:5: rule d: key 'watch' is given twice
f.yaml:19:11: rule d: when: not an amount of money: '$5x' (write $5)"""

MISSPELT = """\
version: 1
notify:
  ops: {slakc: env:SLACK_WEBHOOK_URL}
  plain: env:SLACK_WEBHOOK_URL
  owners: {email: [a@example.org, nobody]}
digest:
  - {evry: day, notify: ops}
  - every week
  - {every: dya, notify: [ops, onwers]}
  - {every: week, notify: []}
silences:
  - {match: {}, until: 2030-01-01}
rules:
  - {name: a, watch: cost_per_request_usd, when: spikes 2x, at_least: {request: 3}, notify: ops}
  - {name: b, watch: cost_usd, when: budget $50 per dya, at: 80, zone: Mars}
  - {name: c, watch: cost_usd, budget: 50 per dya}
  - {name: d, watch: cost_usdd, when: abov $5, severity: hi, critical: Above $9}
  - {when: above 5x, watch: cost_usd, by: model, group_by: agent}
  - {name: e, watch: [cost_usd], when: [above $5]}
"""

MISSPELT_FAULTS = """\
f:3:9: receiver ops: unknown channel 'slakc'; did you mean 'slack'?
f:4:10: receiver plain: keys with values are expected here, as {slack: env:SLACK_WEBHOOK_URL}
f:5:35: receiver owners: email: not an email address: 'nobody' (write me@example.org)
f:7:5: digest: key 'every' is missing: day or week
f:7:6: digest: unknown key 'evry'; did you mean 'every'?
f:8:5: digest: keys with values are expected here, as {every: day}
f:9:13: digest: every: 'dya' is not allowed; use one of: day, week
f:9:32: digest: notify: unknown receiver 'onwers'; did you mean 'owners'?
f:10:27: digest: notify: name at least one receiver
f:12:13: silence: match: say what it silences, as {agent_name: batch}
f:14:50: rule a: when: cannot read 'spikes 2x'; write spike or spike 3x
f:14:72: rule a: at_least: unknown key 'request'; did you mean 'requests'?
f:15:38: rule b: when: cannot read 'budget $50 per dya'; write budget $100 per day (or week, or month)
f:15:62: rule b: at: cannot read '80'; a level is 80%, forecast or burning 5%
f:15:72: rule b: zone: unknown time zone 'Mars'; write one as Europe/Berlin
f:16:5: rule c: key 'when' is missing
f:16:32: rule c: unknown key 'budget'; write when: budget $100 per day (or week, or month)
f:17:22: rule d: watch: unknown metric 'cost_usdd'; did you mean 'cost_usd'?
f:17:39: rule d: when: cannot read 'abov $5'; write above $2 or above 5%
f:17:58: rule d: severity: 'hi' is not allowed; use one of: info, warning, critical
f:17:72: rule d: critical: cannot read 'Above $9'; write above $2 or above 5%
f:18:5: rule without a name: key 'name' is missing
f:18:12: rule without a name: when: not an amount of money: '5x' (write $5)
f:18:60: rule without a name: group_by: unknown label 'agent'; use one of: rule, model
f:19:22: rule e: watch: a single value is expected here
f:19:40: rule e: when: a single value is expected here"""


@pytest.mark.parametrize(
    ("text", "file", "faults"),
    [(BAD, "f.yaml", FAULTS), (MISSPELT, "f", MISSPELT_FAULTS)],
    ids=["wrong", "misspelt"],
)
def test_all_faults_are_said_at_once_with_line_column_key_and_what_to_write(
    text: str, file: str, faults: str
) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(text, file, {})
    assert str(caught.value).splitlines() == faults.splitlines()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rules: []", "f:1:1: the first line must say: version: 1"),
        ("version: 2", "f:1:10: version: this program reads version 1 of the format"),
        ("version: 1\nrules: {a: b}", "f:2:8: rules: a list is expected here"),
        ("version: 1\nrules: [", "f:2:9: not valid YAML: expected the node content"),
        (
            "version: 1\ndefaults: no",
            "f:2:11: defaults: 'no' is not allowed; use one of: true, false",
        ),
        ("version: 1\nevery: 1:30", "f:2:8: every: not a duration: '1:30'"),
        ("version: 1\nevery: 1s", "f:2:8: every: must lie between 5s and 5m"),
        ("version: 1\nnotify: {a: {slack: env:NOPE}}", "environment variable NOPE is not set"),
        (
            "version: 1\nnotify: {a: {email: nobody}}",
            "f:2:21: receiver a: email: not an email address",
        ),
        ("version: 1\ngroup_wait: 2h", "f:2:13: group_wait: must lie between 0s and 1h"),
        (
            "version: 1\nnotify: {a: {slack: {token: env:SLACK_BOT_TOKEN, channel: '#ops'}}}",
            "f:2:59: receiver a: channel: write the channel's id (C0123ABCD), not its name",
        ),
        ("version: 1\nnotify: {a: {webhook: {secret: env:HOOK_SECRET}}}", "key 'url' is missing"),
        ("version: 1\nnotify: {a: {pagerduti: env:K}}", "did you mean 'pagerduty'?"),
        ("version: 1\nnotify: {a: {slack: env:K, teams: env:K}}", "write exactly one of: slack,"),
        (
            "version: 1\nallow_networks: [10.0.0.1/8]",
            "f:2:18: allow_networks: not a network: '10.0.0.1/8'",
        ),
        ("version: 1\nsilences: [{match: {agnt: a}, until: 2030-01-01}]", "unknown label 'agnt'"),
        ("version: 1\nsilences: [{match: {rule: a}}]", "f:2:12: silence: key 'until' is missing"),
        ("version: 1\nsilences: [{match: {rule: a}, until: soon}]", "not a time: 'soon'"),
        (
            "version: 1\nsilences: [{match: {rule: error-rat}, until: 2030-01-01}]",
            "f:2:27: silence: rule: unknown rule 'error-rat'; did you mean 'error-rate'?",
        ),
        ("[1, 2]", "f:1:1: keys with values are expected here"),
        ("a: &a [*a]", "f:1:1: unknown key 'a'"),
        ("version: 1\ndigest: [{every: day}]", "f:2:9: digest: there is nobody to send it to"),
        (
            "version: 1\nemail: {port: 99999}",
            "f:2:15: email: port: not a port: '99999' (write 587)",
        ),
        ("version: 1\nrules:\n\t- {}", "f:3:1: not valid YAML: found character '\\t' that cannot"),
        ("version: 1\nevery: a: b", "a text with ': ' in it stands in quotes"),
        ("version: 1\nbudgets: []", "f:2:1: unknown key 'budgets'"),
    ],
)
def test_a_trap_is_a_fault(text: str, fault: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(text, "f", {})
    assert fault in str(caught.value)


def test_a_rule_is_read_with_all_its_keys() -> None:
    text = """\
version: 1
defaults: false
every: 15s
notify:
  ops: {slack: env:SLACK_WEBHOOK_URL}
  owners: {email: [ai@example.org, b@example.org]}
rules:
  - name: dear
    watch: cost_per_request_usd
    by: [agent_name, tenant]
    where: {environment: prod}
    when: spike 2.5x
    for: 10m
    keep_firing_for: 30m
    at_least: {requests: 50, impact: $2.50}
    severity: critical
    sensitivity: high
    notify: [owners]
  - {name: errors, watch: tool_error_rate, by: tool_name, when: above 20%, over: 1h}
"""
    book = parse_rules(text, "f", ENVIRON)
    dear, errors = book.rules
    assert (dear.condition.kind, dear.condition.limit) == ("spike", 2.5)
    assert (dear.by, dear.where) == (("agent_name", "tenant"), (("environment", ("prod",)),))
    assert (dear.hold_for, dear.keep_firing_for) == (timedelta(minutes=10), timedelta(minutes=30))
    assert (dear.min_requests, dear.min_impact_usd) == (50, 2.5)
    assert [r.name for r in book.receivers_of(dear)] == ["owners"]
    assert [r.name for r in book.receivers_of(errors)] == ["ops", "owners"]
    assert (errors.condition.limit, errors.over_s) == (0.2, 3600)
    assert "hooks" not in repr(book)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("watch: cost_usd, when: drop", "a drop of 'cost_usd' is not supported"),
        ("watch: cache_hit_ratio, when: drop 100%", "write drop 50%"),
        ("watch: cache_hit_ratio, when: drop 2x", "not a share: '2x'"),
        ("watch: cache_hit_ratio, when: drop, over: 1h", "over: a drop picks its own window"),
        (
            "watch: request_cost_max_usd, when: spike, sensitivity: low",
            "sensitivity: only a spike or drop of many requests",
        ),
        ("watch: error_rate, when: silent", "'silent' needs watch: requests"),
        ("watch: requests, when: silent 2h", "silent must last one of: 5m, 15m, 1h, 6h, 24h"),
        ("watch: requests, when: silent, over: 1h", "over: a silent picks its own window"),
        ("watch: requests, when: silent, no_data: ok", "'silent' is about having no data"),
        ("watch: cost_usd, when: above $5, critical: above $4", "must be further out than 'when'"),
        ("watch: cost_usd, when: above $5, critical: below $4", "of the kind of 'when': above"),
        (
            "watch: cost_usd, when: above $5, critical: above $9, severity: critical",
            "'severity' is critical already",
        ),
        ("watch: cost_usd, when: above $5, no_data: zero", "use one of: keep, alert, ok"),
        ("watch: cost_usd, when: above $5, by: model, group_by: agent_name", "unknown label"),
        ("watch: cost_usd, when: above $5, repeat_interval: 1m", "0s (never) or at least 5m"),
        ("watch: cost_usd, when: above $5, at_least: {agents: 3}", "agents: needs watch: one of"),
        (
            "watch: error_rate, when: spike, by: agent_name, at_least: {agents: 3}",
            "not by agent_name",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_a_fault(keys: str, fault: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(f"version: 1\nrules:\n  - {{name: r, {keys}}}", "f", {})
    assert str(caught.value).startswith("f:3:") and fault in str(caught.value)


def test_a_rule_has_no_name_that_is_a_budgets_level_and_one_without_a_name_is_not_offered() -> None:
    """Both were kept under one name, as one alert."""
    text = """\
version: 1
defaults: false
rules:
  - {name: team, watch: cost_usd, when: budget $5 per day, at: 80%}
  - {name: "team 80%", watch: cost_usd, when: above $5}
  - {watch: cost_usd, when: above $5}
silences: [{match: {rule: nope}, until: 2030-01-01}]
"""
    with pytest.raises(RulesError) as caught:
        parse_rules(text, "f", {})
    known = "team, team 80%, evaluation-failing, receiver-failing"
    assert str(caught.value).splitlines()[-3:] == [
        "f:5:12: rule team 80%: name: there is a rule of this name already",
        "f:6:5: rule without a name: key 'name' is missing",
        f"f:7:27: silence: rule: unknown rule 'nope'; use one of: {known}",
    ]


def test_levels_grouping_and_absence_are_read() -> None:
    text = """\
version: 1
group_wait: 30s
repeat_interval: 8h
allow_networks: [10.1.0.0/16, 127.0.0.1]
rules:
  - {name: a, watch: requests, by: agent_name, when: silent 1h, critical: silent 6h}
  - {name: b, watch: cost_per_request_usd, by: [agent_name, tenant], when: spike 2x,
     critical: spike 5x, no_data: alert, group_by: [rule, tenant], repeat_interval: 0s}
  - {name: c, watch: call_error_rate, by: model, when: spike, at_least: {agents: 3}}
  - {name: d, watch: request_cost_max_usd, when: above $5, critical: above $50, group_by: []}
"""
    book = parse_rules(text, "f", {})
    a, b, c, d, *_ = book.rules
    assert (a.condition.limit, a.critical) == (3_600, Condition("silent", 21_600, "silent 6h"))
    assert (b.no_data, b.group_by, b.repeat_interval) == ("alert", ("rule", "tenant"), timedelta(0))
    assert book.repeat_interval_of(b, "critical") is None
    assert book.repeat_interval_of(c, "critical") == timedelta(hours=8)
    assert book.repeat_interval_of(c, "warning") is None
    assert c.min_agents == 3
    labels = {"agent_name": "x", "tenant": "t"}
    assert group_labels(a, {"agent_name": "x"}) == {"agent_name": "x"}
    assert group_labels(b, labels) == {"rule": "b", "tenant": "t"}
    assert group_labels(c, {"model": "m"}) == {"rule": "c", "model": "m"}
    assert group_labels(d, {}) == {}
    assert [str(network) for network in book.allow_networks] == ["10.1.0.0/16", "127.0.0.1/32"]


def test_without_a_file_the_default_rules_run() -> None:
    book = load_rules(None)
    assert {rule.name for rule in book.rules} == DEFAULTS
    assert all(rule.is_default for rule in book.rules)


def test_an_own_rule_takes_the_place_of_the_default_of_its_name() -> None:
    text = "version: 1\nrules: [{name: error-rate, watch: error_rate, when: above 10%}]"
    book = parse_rules(text, "f", {})
    assert {rule.name for rule in book.rules} == DEFAULTS
    assert [r.is_default for r in book.rules if r.name == "error-rate"] == [False]


def test_check_says_the_faults_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "alerts.yaml"
    file.write_text("version: 1\nrulez: []\n", encoding="utf-8")
    assert main(["--data-dir", str(tmp_path), "check", str(file)]) == 1
    expected = f"{file}:2:1: unknown key 'rulez'; did you mean 'rules'?\n"
    assert capsys.readouterr().err == expected
    file.write_text("version: 1\n", encoding="utf-8")
    assert main(["--data-dir", str(tmp_path), "check", str(file)]) == 0


def test_check_counts_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A budget is one rule, however many levels it has."""
    file = tmp_path / "alerts.yaml"
    text = """\
version: 1
notify: {ops: {email: ops@example.org}}
digest: [{every: day}]
rules:
  - {name: a, watch: cost_usd, when: above $5}
  - {name: b, watch: cost_usd, when: budget $5 per day}
"""
    file.write_text(text, encoding="utf-8")
    assert main(["--data-dir", str(tmp_path), "check", str(file)]) == 0
    expected = f"{file}: 2 own rules, 9 default rules, 1 receiver, 1 digest, no errors\n"
    assert capsys.readouterr().out == expected


def test_test_notify_names_the_receivers_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "alerts.yaml").write_text("version: 1\n", encoding="utf-8")
    assert main(["--data-dir", str(tmp_path), "test-notify", "ops"]) == 2
    assert "there is no receiver 'ops'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "least"), [("alerts.md", 2), ("guards.md", 1)])
def test_the_examples_in_the_documentation_are_good(name: str, least: int) -> None:
    text = DOCUMENT.with_name(name).read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= least
    for block in blocks:
        parse_rules(block, "docs", ENVIRON)


def test_a_start_with_faults_ends_with_where_to_see_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`taximeter up` shows the last line of a part that does not start."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alerts.yaml").write_text("version: 1\nrules:\n  - {watch: nope}\n")
    assert main(["--data-dir", str(tmp_path)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("alerts.yaml has ") and last.endswith("lists them.")
