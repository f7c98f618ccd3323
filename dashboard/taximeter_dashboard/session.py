"""What a page asks of its session: the reader, the scope, the reader's time zone, links."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import streamlit as st

from taximeter.settings import load_settings
from taximeter_dashboard.alerts_api import AlertsApi, alerts_api_for
from taximeter_dashboard.reading import Reader, reader_from
from taximeter_dashboard.scope import DEFAULT_RANGE, FILTERS, Scope, link

_SHARED = ("range", "start", "end", *FILTERS)
_SCOPE = "_scope"


@st.cache_resource(show_spinner=False)
def reader() -> Reader:
    """Return the reader that all sessions share."""
    return reader_from()


@st.cache_resource(show_spinner=False)
def alerts() -> AlertsApi:
    """Return the alerts service's client that all sessions share."""
    return alerts_api_for(load_settings())


def set_scope(scope: Scope) -> None:
    st.session_state[_SCOPE] = scope


def scope() -> Scope:
    """Return the scope that the frame read from the URL in this run."""
    found: Scope = st.session_state[_SCOPE]
    return found


def zone() -> tzinfo:
    """Return the browser's time zone, UTC if it is not known."""
    try:
        name = st.context.timezone
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC


def url(page: str, **own: object) -> str:
    """Return the address of a page with this session's window and filters."""
    state = st.session_state
    shared = {name: state[name] for name in _SHARED if name in state}
    if shared.get("range") == DEFAULT_RANGE:
        del shared["range"]
    return link(page, shared, st.get_option("server.baseUrlPath") or "", **own)
