"""What the policies refuse (attacks) and what they let through (honest use)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import taximeter
from taximeter.policies import Commands, Denied, Values, Workdir
from taximeter.testing import SpanList


@pytest.fixture
def box(tmp_path: Path) -> Workdir:
    """A directory with what attackers would leave in it, beside a secret."""
    root = tmp_path / "work"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "a.txt").write_text("a")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "work-of-others").mkdir()
    (root / "up").symlink_to("..")
    (root / "etc").symlink_to("/etc")
    (root / "far").symlink_to(root / "up" / "secret.txt")
    (root / "dangling").symlink_to(tmp_path / "not-there-yet")
    (root / "loop").symlink_to(root / "loop")
    (root / "inner").symlink_to("docs")
    return Workdir(root)


PATH_ATTACKS = [
    "../secret.txt",
    "..",
    "docs/../../secret.txt",
    "docs/../../../../../../etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "/proc/self/root/etc/passwd",
    "{root}/../secret.txt",
    "{root}-of-others/x",
    "{root}/../work-of-others/x",
    "up/secret.txt",
    "up",
    "up/new-file",
    "etc/passwd",
    "etc/new/dir/file",
    "far",
    "dangling",
    "dangling/x",
    "loop",
    "loop/x",
    "inner/../../secret.txt",
    "..\\secret.txt",
    "docs\\..\\..\\secret.txt",
    "C:\\Windows\\system.ini",
    "C:secret.txt",
    "\\\\server\\share\\x",
    "docs/a.txt\0.png",
    "docs/\n../x",
    "",
    b"../secret.txt",
    17,
    None,
]


@pytest.mark.parametrize("path", PATH_ATTACKS, ids=repr)
def test_a_path_that_leads_out_is_refused(box: Workdir, path: Any) -> None:
    if isinstance(path, str):
        path = path.replace("{root}", str(box.root))
    with pytest.raises(Denied):
        box.check(path)


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("docs/a.txt", "docs/a.txt"),
        (".", "."),
        ("./docs//a.txt", "docs/a.txt"),
        ("docs/../docs/a.txt", "docs/a.txt"),
        ("new/file.txt", "new/file.txt"),
        ("inner/a.txt", "docs/a.txt"),
        ("%2e%2e/secret.txt", "%2e%2e/secret.txt"),
        ("~/x", "~/x"),
        ("$HOME/x", "$HOME/x"),
        ("..x", "..x"),
        ("DOCS/A.TXT", "DOCS/A.TXT"),
        ("a\u2025/x", "a\u2025/x"),
    ],
)
def test_a_path_inside_is_resolved(box: Workdir, path: str, leads_to: str) -> None:
    inside = box.root / leads_to
    assert box.check(path) == str(inside.resolve())
    assert box.check(Path(path)) == inside.resolve()


COMMAND_ATTACKS = [
    "rm -rf /",
    "ls; rm -rf /",
    "ls && rm x",
    "ls | sh",
    "ls `rm x`",
    "ls $(rm x)",
    "ls > /etc/cron.d/x",
    "ls\nrm x",
    "/tmp/ls",
    "/bin/../bin/rm x",
    "./ls",
    "../bin/ls",
    "LS",
    "ls\0",
    "git push",
    "git -c core.pager=sh status",
    "git -c alias.status=!sh status",
    "git --exec-path=/tmp status",
    "git log --output=docs/x",
    "git log --ext-diff",
    "git  'status;x'",
    "find . -exec rm {} +",
    "find . -delete",
    "find . -execdir sh -c x +",
    "find docs -fprintf docs/x y",
    "sort docs/a.txt -o docs/b.txt",
    "sort --compress-program=sh docs/a.txt",
    "cat /etc/passwd",
    "cat ../secret.txt",
    "cat up/secret.txt",
    "cat -- /etc/passwd",
    "sort --files0-from=/etc/passwd",
    "ls --color=/etc",
    "ls -I/etc/passwd",
    "ls -I..",
    "cat 'unclosed",
    "",
    "   ",
    [],
    ["ls", 7],
    ["git", "commit"],
    ["cat", "/etc/shadow"],
    {"command": "ls"},
    None,
]


@pytest.fixture
def commands(box: Workdir) -> Commands:
    return Commands("ls", "cat", "find", "sort", "git status", "git log", within=box)


@pytest.mark.parametrize("command", COMMAND_ATTACKS, ids=repr)
def test_a_command_beyond_the_list_is_refused(commands: Commands, command: Any) -> None:
    with pytest.raises(Denied):
        commands.check(command)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("ls -la docs", ["-la", "docs"]),
        ("cat 'docs/a.txt'", ["docs/a.txt"]),
        (["cat", "docs/a.txt"], ["docs/a.txt"]),
        ("find docs -name '*.txt'", ["docs", "-name", "*.txt"]),
        (["ls", "a;b"], ["a;b"]),
    ],
    ids=repr,
)
def test_a_listed_command_becomes_a_program_and_its_arguments(
    commands: Commands, command: Any, arguments: list[str]
) -> None:
    program, *rest = commands.check(command)
    assert os.path.isabs(program)
    assert rest == arguments
    assert commands.check([program, *rest]) == [program, *arguments]


def test_a_checked_command_runs_without_shell_and_environment(
    commands: Commands, box: Workdir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    assert commands.run("cat docs/a.txt").stdout == "a"
    assert commands.run(["ls", "*"]).returncode != 0
    assert "secret" not in Commands("env", within=box).run("env").stdout


def test_a_program_that_was_put_in_place_later_does_not_count(tmp_path: Path) -> None:
    with pytest.raises(Denied, match="not installed"):
        Commands("ls", path=str(tmp_path)).check("ls")


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("ann@example.com", True),
        ("ANN@Example.com", True),
        (["ann@example.com", "bob@example.com"], True),
        ("help@partner.org", True),
        (["ann@example.com", "eve@evil.com"], False),
        ("eve@evil.com,ann@example.com", False),
        ("eve@evil.com ann@example.com", False),
        ("eve@evil.com\nBcc: ann@example.com", False),
        ("<eve@evil.com> ann@example.com", False),
        ("ann@example.com.evil.com", False),
        ("", False),
        (None, False),
    ],
    ids=repr,
)
def test_recipients_are_on_the_list(value: Any, passes: bool) -> None:
    policy = Values("*@example.com", "help@partner.org", what="recipient")
    if passes:
        assert policy.check(value) == value
    else:
        with pytest.raises(Denied, match="recipient"):
            policy.check(value)


def test_a_violation_does_not_run_and_is_recorded_as_denied(spans: SpanList, box: Workdir) -> None:
    ran: list[str] = []

    @taximeter.tool(allow={"path": box}, retries=3)
    def read(path: str = "docs/a.txt") -> str:
        ran.append(path)
        return Path(path).read_text()

    assert read() == read(path="docs/a.txt") == "a"
    with pytest.raises(Denied, match="outside"):
        read("../secret.txt")
    assert ran == [str(box.root / "docs/a.txt")] * 2
    *_, denied = spans.named("execute_tool read")
    said = dict(denied.attributes or {})
    assert said["taximeter.tool.denied"] is True
    assert said["error.type"] == "Denied"
    assert denied.status.is_unset


@pytest.mark.parametrize(
    ("allow", "passes"),
    [
        (lambda arguments: arguments["amount"] <= 100, True),
        (lambda arguments: arguments["amount"] <= 10, False),
        (lambda arguments: None, True),
        (lambda arguments: arguments["missing"], False),
    ],
    ids=["allowed", "refused", "nothing said", "a policy that fails refuses"],
)
def test_a_function_can_be_a_policy(allow: Any, passes: bool) -> None:
    taximeter.shutdown()  # policies hold without telemetry too

    @taximeter.tool(allow=allow)
    def pay(amount: int) -> str:
        return "paid"

    if passes:
        assert pay(50) == "paid"
    else:
        with pytest.raises(Denied):
            pay(50)


def test_a_tool_that_asks_a_policy_itself_is_recorded_as_denied(
    spans: SpanList, box: Workdir
) -> None:
    @taximeter.tool
    def read(path: str) -> str:
        return box.resolve(path).read_text()

    with pytest.raises(Denied):
        read("/etc/passwd")
    assert (spans.spans[0].attributes or {})["taximeter.tool.denied"] is True
