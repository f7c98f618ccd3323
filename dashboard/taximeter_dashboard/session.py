"""What a page asks of its session: the reader, the scope, the reader's time zone, links."""

from __future__ import annotations

import time
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import streamlit as st

from taximeter.pricing import Catalog, load_catalog
from taximeter.settings.settings import load_settings
from taximeter_collector.explain import Proof, Replay, gather, prove
from taximeter_dashboard.alerts_api import AlertsApi, alerts_api_for
from taximeter_dashboard.reading import Reader, SettledReader, reader_from
from taximeter_dashboard.scope import DEFAULT_RANGE, FILTERS, Scope, link
from taximeter_dashboard.sign_in import COOKIE, Access, Role, access_of

_SHARED = ("range", "start", "end", *FILTERS)
_SCOPE = "_scope"
_HIDDEN = "_hidden"
_LINKED = "_linked"


@st.cache_resource(show_spinner=False)
def reader() -> Reader:
    """Return the reader that all sessions share."""
    return reader_from()


def settled() -> SettledReader:
    """Return the reader for what is over: the previous period, deploys, the names in the filters."""
    return SettledReader(reader())


@st.cache_resource(show_spinner=False)
def access() -> Access:
    """Return who may do what, as it stood when this process first asked."""
    return access_of(load_settings().dashboard)


def role() -> Role | None:
    """Return what this session's person may do, None for nothing."""
    known = access()
    if known.is_open:
        return "editor"
    if known.people:
        return known.role_of_person(st.user.to_dict()) if st.user.get("is_logged_in") else None
    return known.opened(st.context.cookies.get(COOKIE), time.time())


def may_edit() -> bool:
    return role() == "editor"


def may_see_content() -> bool:
    """Return whether this session may read what agents were told and said."""
    held = role()
    return held is not None and access().may_see_content(held)


def alerts() -> AlertsApi:
    """Return the alerts service's client that all sessions of this role share."""
    return _alerts(may_edit())


@st.cache_resource(show_spinner=False)
def _alerts(may_change: bool) -> AlertsApi:
    return alerts_api_for(load_settings(), may_change=may_change)


@st.cache_resource(show_spinner=False)
def price_list() -> Catalog:
    """Return the price list as it stood when this process first asked for it."""
    return load_catalog(load_settings().prices.file)


@st.cache_resource(show_spinner=False)
def replay() -> Replay:
    """Return what reads stored spans again; all sessions share it."""
    return Replay()


@st.cache_data(max_entries=256, show_spinner=False)
def _proof(trace_id: str, span_id: str, data_version: int) -> Proof:
    return prove(gather(reader().rows, replay(), trace_id, span_id), price_list())


def proof(trace_id: str, span_id: str) -> Proof:
    """Return where a span's numbers come from. Raises QueryError, NotExplainable."""
    found: Proof = _proof(trace_id, span_id, reader().data_version())
    return found


def set_scope(scope: Scope) -> None:
    """Set the scope of this run, and what all its links have in common."""
    state = st.session_state
    state[_SCOPE] = scope
    shared = {name: state[name] for name in _SHARED if name in state}
    if shared.get("range") == DEFAULT_RANGE:
        del shared["range"]
    # Kept, for a page has hundreds of links, and each look into the state takes a while.
    state[_LINKED] = shared


def scope() -> Scope:
    """Return the scope that the frame read from the URL in this run."""
    found: Scope = st.session_state[_SCOPE]
    return found


def set_hidden(*, is_hidden: bool) -> None:
    st.session_state[_HIDDEN] = is_hidden


def is_hidden() -> bool:
    """Return whether the browser's tab is hidden: nothing need be asked for it."""
    return bool(st.session_state.get(_HIDDEN))


def zone() -> tzinfo:
    """Return the browser's time zone, UTC if it is not known."""
    try:
        name = st.context.timezone
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC


def url(page: str, **own: object) -> str:
    """Return the address of a page with this session's window and filters."""
    shared: dict[str, object] = st.session_state.get(_LINKED, {})
    return link(page, shared, st.get_option("server.baseUrlPath") or "", **own)


def requests_with(column: str, value: str | None) -> str:
    """Return the address of the requests with this value of a dimension, "" where none can be named.

    Requests have no model or tool of their own: they are searched for the name, and so are those
    in which a sub-agent worked.
    """
    if value is None:
        return ""
    parameter = next((name for name, known in FILTERS.items() if known == column), None)
    if parameter is not None:
        return url("requests", **{parameter: [value]})
    return url("requests", q=value) if column == "model" else ""
