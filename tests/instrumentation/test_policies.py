"""What the policies refuse (attacks) and what they let through (honest use)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import taximeter
from taximeter.policies import Commands, Denied, Hosts, ReadOnlySql, Values, Workdir
from taximeter.policies.hosts import is_public
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


ADDRESSES = {
    "api.example.com": ["93.184.215.14"],
    "docs.wiki.org": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    "inside.wiki.org": ["10.0.0.7"],
    "mixed.wiki.org": ["93.184.215.14", "127.0.0.1"],
    "mapped.wiki.org": ["::ffff:169.254.169.254"],
    "nat.wiki.org": ["64:ff9b::7f00:1"],
    "six.wiki.org": ["2002:7f00:1::"],
    "zone.wiki.org": ["fe80::1%eth0"],
    "zero.wiki.org": ["0.0.0.0"],
    "shared.wiki.org": ["100.64.0.1"],
    "multi.wiki.org": ["224.0.0.1"],
    "xn--bcher-kva.wiki.org": ["93.184.215.14"],
}


def resolve(host: str) -> Iterable[str]:
    if host not in ADDRESSES:
        raise OSError(f"unknown host {host}")
    return ADDRESSES[host]


HOSTS = Hosts("api.example.com", "*.wiki.org", resolve=resolve)
HOST_ATTACKS = [
    "https://evil.com",
    "http://api.example.com",
    "ftp://api.example.com",
    "file:///etc/passwd",
    "gopher://api.example.com",
    "javascript:alert(1)",
    "https://api.example.com@evil.com/",
    "https://api.example.com:pw@evil.com/",
    "https://evil.com#@api.example.com",
    "https://evil.com?api.example.com",
    "https://evil.com\\@api.example.com",
    "https://evil.com/\\api.example.com",
    "https://api.example.com.evil.com",
    "https://apiXexample.com",
    "https://wiki.org.evil.com",
    "https://wiki.org",
    "https://evilwiki.org",
    "https://api.example.com:8443/",
    "https://api.example.com:0x1bb",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://127.0.0.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/",
    "https://inside.wiki.org/",
    "https://mixed.wiki.org/",
    "https://mapped.wiki.org/",
    "https://nat.wiki.org/",
    "https://six.wiki.org/",
    "https://zone.wiki.org/",
    "https://zero.wiki.org/",
    "https://shared.wiki.org/",
    "https://multi.wiki.org/",
    "https://nowhere.wiki.org/",
    "https:///api.example.com",
    "https:api.example.com",
    "https://api.example.com\r\nHost: evil.com",
    " https://api.example.com",
    "https://api.example.com\t.evil.com",
    "https://evil.com\u2215.wiki.org",
    "api.example.com/path",
    "https://",
    "",
    None,
    ["https://api.example.com"],
]


@pytest.mark.parametrize("url", HOST_ATTACKS, ids=repr)
def test_a_host_beyond_the_list_is_refused(url: Any) -> None:
    with pytest.raises(Denied):
        HOSTS.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com",
        "https://API.Example.com./v1?q=a@b#c",
        "https://api.example.com:443/",
        "https://docs.wiki.org/x",
        "https://b\u00fccher.wiki.org/",
        "api.example.com",
    ],
)
def test_a_listed_host_passes(url: str) -> None:
    assert HOSTS.check(url) == url


def test_private_hosts_other_schemes_and_ports_are_for_whoever_says_so() -> None:
    own = Hosts("inside.wiki.org", schemes=["http"], ports=[8080], private=True, resolve=resolve)
    assert own.addresses("http://inside.wiki.org:8080/") == ["10.0.0.7"]
    anywhere = Hosts(
        "*", resolve=lambda host: ["127.0.0.1"] if host == "2130706433" else ["1.1.1.1"]
    )
    assert anywhere.check("https://one.one/")
    with pytest.raises(Denied):
        anywhere.check("https://2130706433/")
    assert not is_public("no address")


SQL_ATTACKS = [
    "drop table t",
    "select 1; drop table t",
    "select 1;;drop table t",
    "insert into t values (1)",
    "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
    "with x as (update t set a = 1 returning a) select * from x",
    "select * into copy from t",
    "select * from t for update",
    "select 1 drop table t",
    "select 1 exec xp_cmdshell 'dir'",
    "select 'a' into outfile '/tmp/x'",
    "explain analyze delete from t",
    "/*! drop table t */",
    "select 1 /* ; */ ; drop table t",
    "select 1 --1; drop table t",
    "select 1 # '\n; drop table t; -- '",
    "select '\\'; drop table t; -- '",
    'select "a\\"; drop table t',
    "select $$a$$; drop table t",
    "select $tag$'$tag$",
    "select 'open",
    'select "open',
    "select pg_read_file('/etc/passwd')",
    "select \"pg_read_file\"('/etc/passwd')",
    "select PG_SLEEP (1000)",
    "select lo_import('/etc/passwd')",
    "select * from dblink('host=x', 'drop table t') as t(a int)",
    "select set_config('role', 'admin', false)",
    "select nextval('s')",
    "select pg_terminate_backend(1)",
    "select query_to_xml('delete from t', true, true, '')",
    "select load_extension('x.so')",
    "select writefile('x', 'y')",
    "select load_file('/etc/passwd')",
    "select benchmark(1e9, md5('x'))",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from '/etc/passwd'",
    "select * from 'secrets.csv'",
    'select * from "x.parquet"',
    "select * from t, 'x.csv'",
    "select * from (select 1) join '/data/x.json' on true",
    "from 'x.csv'",
    "attach 'x.db'",
    "pragma writable_schema = 1",
    "copy t to '/tmp/x'",
    "copy (select 1) to program 'sh'",
    "call p()",
    "do $$ begin end $$",
    "set role admin",
    "begin",
    "vacuum into 'x'",
    "truncate t",
    "grant all on t to public",
    "select * from openrowset('x', 'y', 'z')",
    "select 1 waitfor delay '1:00'",
    "select 1\0",
    ";",
    "",
    None,
]


@pytest.mark.parametrize("sql", SQL_ATTACKS, ids=repr)
def test_sql_that_may_write_is_refused(sql: Any) -> None:
    with pytest.raises(Denied):
        ReadOnlySql().check(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from t where a = 'it''s; drop table t -- no'",
        "SELECT replace(name, '/', '-') FROM t ORDER BY 1;",
        'select "delete" from "order"',
        "with x as (select 1 as a) select a from x union all values (2)",
        "(select 1)",
        "select start, comment, end_at, call, set_by from t where lock is null",
        "select count(*) from a join b on a.id = b.id where path = '/x.csv'",
        "explain select 1",
        "select deleted, updated_at from t",
        "select a from t where note in ('x.csv', '/y')",
        "select sum(a) from (select a from t where p = '/x') as s, u where u.p = 'y.csv'",
    ],
)
def test_sql_that_reads_passes(sql: str) -> None:
    assert ReadOnlySql().check(sql) == sql


def test_a_risky_function_is_for_whoever_says_so() -> None:
    assert ReadOnlySql(functions=["nextval"]).check("select nextval('s')")


def test_honest_sql_really_runs() -> None:
    con = sqlite3.connect(":memory:")
    con.execute("create table t (a text)")
    sql = ReadOnlySql().check("select replace(a, 'x', 'y') from t where a <> ';'")
    assert con.execute(sql).fetchall() == []


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
