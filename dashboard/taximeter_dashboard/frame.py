"""Around every page: title, scope bar, cards, live refresh, and what is shown when there is no data."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final, ParamSpec

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

from taximeter_collector.client import QueryError
from taximeter_dashboard import annotating, blocks, queries, session
from taximeter_dashboard.components import page_state, sheet
from taximeter_dashboard.format import duration
from taximeter_dashboard.scope import DEFAULT_RANGE, FILTERS, RANGES, absolute_window, scope_of
from taximeter_dashboard.store_notes import store_notes
from taximeter_dashboard.turns import Turns

P = ParamSpec("P")
PULSE_S: Final = 1.0
_BEHIND_S: Final = 10.0
_LONGEST_TURN_S: Final = 10.0
_TURNS: Final = Turns()
_LABELS: Final = {
    "agent": "Agents",
    "version": "Agent versions",
    "env": "Environments",
    "service": "Services",
    "tenant": "Tenants",
    "user": "Users",
}
KEYS: Final[tuple[blocks.Fact, ...]] = (
    ("/", "go to the search of the page, or of the spans of a request"),
    ("Tab, ↑ ↓ or j k", "reach a table, walk its rows"),
    ("Enter", "open the row"),
    ("↑ ↓ ← →", "in a request: walk, close and open spans"),
    ("e", "in a request: the next error"),
    ("Ctrl + Enter", "in Explore: run the statement"),
    ("?", "this help"),
)
_SCOPED_PAGES: Final = frozenset(
    {"", "requests", "agents", "costs", "cache", "errors", "people", "setup"}
)
_CHARTED_PAGES: Final = frozenset({"", "agents", "costs", "cache", "errors"})
"""Those with charts over time."""
# Only what the theme in config.toml can't say; aimed at our own st-key classes.
_CSS: Final = """<style>
.stMainBlockContainer {padding-left: 2rem; padding-right: 2rem; max-width: 1720px;}
.st-key-pagehead-hidden, .st-key-scopebar-hidden,
[data-testid="stLayoutWrapper"]:has(> .st-key-pulse:empty) {display: none !important;}
.st-key-pagehead h1 {padding: 0; letter-spacing: -.011em;}
/* A window of its own: the range that would hold without it must not look as if it held. */
.st-key-scopebar:has(.st-key-clear-window) .st-key-range button[aria-checked=true] {background: none; color: inherit; border-color: color-mix(in srgb, currentColor 18%, transparent);}
[class*="st-key-card-"] {padding: 14px 16px 12px !important;}
[data-testid="stSidebarNav"] ul {gap: 1px;}
:is(.st-key-sql, .st-key-rules-text) textarea {font-family: "JetBrains Mono", ui-monospace, monospace; font-size: 12.5px;}
code, :is(.st-key-sql, .st-key-rules-text) textarea {font-variant-ligatures: none !important;}
button[kind^=primary] {background: #4254C8 !important; border-color: #4254C8 !important;}
button[kind^=primary] :is(p, kbd) {color: #FFFFFF !important; opacity: 1 !important;}
.st-key-who a {color: inherit; font-size: 13px;}
.stElementContainer:has(> .stHtml style) {display: none;}
@media (max-width: 640px) {
  .stMainBlockContainer {padding-left: 1rem; padding-right: 1rem;}
}
</style>"""


def admitted() -> bool:
    """Return whether this session may see anything; draw the way in if it may not, the way out if it may."""
    held = session.role()
    known = session.access()
    if held is None:
        _way_in(has_people=bool(known.people))
        return False
    if not known.is_open:
        with st.sidebar, st.container(key="who", gap="xsmall"):
            who = str(st.user.get("email")) if known.people else "Signed in"
            sheet([blocks.title("", f"{who} as {held}")], key="who-text")
            if known.people:
                st.button("Sign out", on_click=st.logout, key="sign-out", type="tertiary")
            else:
                st.html('<a href="/sign-out" target="_self">Sign out</a>')
    return True


def _way_in(*, has_people: bool) -> None:
    with st.container(border=True, key="card-sign-in", gap="small", width=420):
        if not has_people:
            sheet([blocks.title("Your sign-in is over")], key="signed-out")
            st.html('<a href="/sign-in" target="_self">Sign in again</a>')
        elif not st.user.get("is_logged_in"):
            text = "With your account at your organisation's identity provider."
            sheet([blocks.title("Sign in"), blocks.note(text)], key="sign-in-text")
            st.button("Sign in", on_click=st.login, key="sign-in", type="primary")
        else:
            text = f"{st.user.get('email') or 'This account'} is not among those who may see this dashboard."
            sheet([blocks.title("No access"), blocks.note(text, "bad")], key="no-access")
            st.button("Sign out", on_click=st.logout, key="sign-out")


def head(page: StreamlitPage) -> None:
    """Draw title and scope bar and set the session's scope.

    The entry point must call it, not a page: widgets bound to the URL keep their value across
    pages only if they are drawn on all of them.
    """
    st.html(_CSS)
    told = page_state(key="page-state")
    session.set_hidden(is_hidden=told.is_hidden)
    if told.asks_for_help:
        _help()
    is_detail = page.url_path == "request"
    key = "pagehead-hidden" if is_detail else "pagehead"
    with st.container(horizontal=True, vertical_alignment="center", key=key, gap="small"):
        st.title(page.title, anchor=False, width="content")
        st.space("stretch")
        # On a phone it stands beside the title; it lists what lies in the scope, so it is drawn after it.
        beside = st.container(width="content", key="annotating")
        bar = "scopebar" if page.url_path in _SCOPED_PAGES else "scopebar-hidden"
        with st.container(
            horizontal=True, vertical_alignment="center", key=bar, gap="small", width="content"
        ):
            agents = _scope_bar()
        if page.url_path in _CHARTED_PAGES and session.may_edit():
            with beside:
                annotating.popover(agents)


@st.dialog("Keyboard")
def _help() -> None:
    sheet([blocks.key_values(KEYS)], key="keyboard")


def _scope_bar() -> list[str]:
    """Draw range and filters and set the session's scope; return the agents to choose from."""
    state = st.session_state
    now = datetime.now(UTC)
    number = sum(bool(state.get(name)) for name in FILTERS)
    label = f"Filter · {number}" if number else "Filter"
    with st.popover(label, icon=":material/filter_list:", key="filter"):
        options = _filter_options(now)
        filters = _filters(options)
        st.text_input(
            "From (UTC)", key="start", bind="query-params", placeholder="2026-11-24T10:00"
        )
        st.text_input("To (UTC)", key="end", bind="query-params", placeholder="2026-11-24T11:00")
    window = absolute_window(state.get("start"), state.get("end"))
    if window is not None:
        text = f"{window[0]:%d %b %H:%M} – {window[1]:%d %b %H:%M} UTC"
        st.button(text, icon=":material/close:", on_click=_clear_window, key="clear-window")
    name = st.segmented_control(
        "Time range", list(RANGES), default=DEFAULT_RANGE, required=True, key="range",
        bind="query-params", label_visibility="collapsed", on_change=_clear_window,
    )  # fmt: skip
    _mend_address()
    session.set_scope(scope_of(now, name, state.get("start"), state.get("end"), filters))
    return options["agent"]


def _mend_address() -> None:
    """Write into the address what it has lost of this view.

    A link's parameters are taken over, but Streamlit 1.67 strikes those out of the address whose
    fields the browser has not drawn, as in the closed popover. There is no public way to put them back:
    where a later Streamlit has not this one either, the address stays as it is.
    """
    state, context = st.session_state, get_script_run_ctx()
    names = (*FILTERS, "start", "end")
    lost = [name for name in names if state.get(name) and name not in st.query_params]
    if not lost or context is None:
        return
    with suppress(AttributeError, TypeError), context.session_state.query_params() as parameters:
        for name in lost:
            kind = "string_array_value" if name in FILTERS else "string_value"
            parameters.set_corrected_value(name, state[name], kind)


def _filter_options(now: datetime) -> dict[str, list[str]]:
    try:
        # The day's start: a question that changes with every second could not be kept.
        since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)
        return queries.filter_options(session.settled(), since)
    except QueryError:
        return {name: [] for name in FILTERS}


def _filters(options: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for name in FILTERS:
        in_url = st.query_params.get_all(name)
        known = sorted({*options[name], *in_url, *(st.session_state.get(name) or [])})
        if not known and name not in ("agent", "env"):
            continue
        chosen[name] = st.multiselect(
            _LABELS[name], known, key=name, bind="query-params", select_all=False,
            placeholder=f"All {_LABELS[name].lower()}",
        )  # fmt: skip
    return chosen


def _clear_window() -> None:
    st.session_state["start"] = st.session_state["end"] = ""


@contextmanager
def card(
    title: str, sub: str = "", *, key: str, badges: list[blocks.Badge] | None = None
) -> Iterator[None]:
    """Draw a bordered box with a title and a one-line summary behind it."""
    with st.container(border=True, key=f"card-{key}", gap="xsmall", height="stretch"):
        sheet([blocks.title(title, sub, badges or [])], key=f"title-{key}")
        yield


def guarded(draw: Callable[P, None]) -> Callable[P, None]:
    """Draw, or say in one sentence why the collector gave no data, with a way to retry.

    A part of a page that draws itself again ends with the sign-in too.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> None:
        if session.role() is None:
            _way_in(has_people=bool(session.access().people))
            return
        try:
            draw(*args, **kwargs)
        except QueryError as error:
            unavailable(error)

    return drawn


def unavailable(error: QueryError) -> None:
    """Draw the state in which the collector can't be asked."""
    st.session_state["_down"] = True
    with st.container(border=True, key="card-down", gap="small"):
        sheet([blocks.title("No data to show"), blocks.note(error.message, "bad")], key="down")
        if error.type == "unreachable":
            st.code("taximeter up", language=None)
        st.button("Retry", icon=":material/refresh:", key="retry")


def nothing_yet(what: str, hint: str) -> None:
    """Draw the state of an empty window, or of a store that nothing has reached yet."""
    with st.container(border=True, key="card-empty", gap="small"):
        if queries.has_any_request(session.reader()):
            sheet([blocks.title(what), blocks.note(hint)], key="empty")
            return
        sheet(
            [
                blocks.title("Waiting for the first request"),
                blocks.note(
                    "Nothing has arrived yet. Point an agent at this collector, or let the demo"
                    " fleet fill it; this page shows new requests by itself."
                ),
            ],
            key="empty",
        )
        st.code("taximeter demo --days 14", language=None)
        st.page_link("views/setup.py", label="How to connect an agent", icon=":material/cable:")


def pulse(notices: DeltaGenerator) -> None:
    """Look for new data every second while the tab is seen, and draw the page again when there is some.

    What stands in the way is said in ``notices``, above the page.
    """
    state = st.session_state
    state["_drawn_at"] = time.monotonic()
    if not session.scope().is_live or session.is_hidden():
        return
    with notices:
        _beat()


@st.fragment(run_every=PULSE_S, key="pulse-fragment")
def _beat() -> None:
    state = st.session_state
    try:
        status = session.reader().status()
    except QueryError as error:
        if not state.get("_down"):
            text = f"{error.message} What you see was read before that."
            sheet([blocks.note(text, "warn")], key="stale")
        return
    lag_s = status.get("lag_s")
    if lag_s is not None and lag_s > _BEHIND_S:
        text = f"These pages are {duration(lag_s * 1000)} behind what was received; they catch up by themselves."
        sheet([blocks.note(text, "warn")], key="behind")
    if notes := store_notes(status, in_full=False):
        sheet(notes, key="store-notes")
    version = session.reader().data_version()
    was_down = state.pop("_down", False)
    if was_down or (version != state.get("_version") and _may_draw_again()):
        state["_version"] = version
        st.rerun(scope="app")


def _may_draw_again() -> bool:
    """Return whether this page rested long enough since it was drawn, and no other draws itself again now."""
    state = st.session_state
    took_s = min(state.get("_took_s", 0.0), _LONGEST_TURN_S)
    rested_s = time.monotonic() - state.get("_drawn_at", 0.0)
    return rested_s >= min(2 * took_s, _LONGEST_TURN_S) and _TURNS.take(took_s)
