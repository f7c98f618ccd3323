"""The page's entry: navigation and frame, then the view. Streamlit runs it for every interaction.

The views lie in views/: Streamlit takes a folder named pages/ for a navigation of its own.
"""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from taximeter_collector.client import QueryError
from taximeter_dashboard import frame, session

HERE = Path(__file__).parent


def main() -> None:
    """Draw the page that the address names."""
    started = time.monotonic()
    st.set_page_config(
        page_title="taximeter",
        page_icon=str(HERE / "static" / "favicon.svg"),
        layout="wide",
        initial_sidebar_state=216,
    )
    st.logo(
        str(HERE / "static" / "logo.svg"),
        icon_image=str(HERE / "static" / "favicon.svg"),
        size="medium",
    )
    if not frame.admitted():
        return
    page = st.navigation(
        {
            "Observe": [
                st.Page("views/overview.py", title="Overview", icon=":material/monitoring:",
                        default=True),
                st.Page("views/requests.py", title="Requests", icon=":material/list_alt:",
                        url_path="requests"),
                st.Page("views/request.py", title="Request", icon=":material/account_tree:",
                        url_path="request", visibility="hidden"),
                st.Page("views/agents.py", title="Agents", icon=":material/smart_toy:",
                        url_path="agents"),
                st.Page("views/costs.py", title="Costs", icon=":material/payments:",
                        url_path="costs"),
                st.Page("views/cache.py", title="Cache", icon=":material/cached:",
                        url_path="cache"),
                st.Page("views/errors.py", title="Errors & tools", icon=":material/error:",
                        url_path="errors"),
                st.Page("views/people.py", title="Sessions & users", icon=":material/group:",
                        url_path="people"),
                # One's own SQL reads the spans, and so what agents say.
                *([st.Page("views/explore.py", title="Explore", icon=":material/query_stats:",
                           url_path="explore")] if session.may_see_content() else []),
                st.Page("views/live.py", title="Live tail", icon=":material/stream:",
                        url_path="live"),
            ],
            "Act": [
                st.Page("views/alerts.py", title="Alerts", icon=":material/notifications:",
                        url_path="alerts"),
            ],
            "Connect": [
                st.Page("views/setup.py", title="Set-up", icon=":material/cable:",
                        url_path="setup"),
            ],
        },
        position="sidebar",
        expanded=True,
    )  # fmt: skip
    frame.head(page)
    notices = st.container(key="pulse")
    try:
        st.session_state["_version"] = session.reader().data_version()
        page.run()
    except QueryError as error:
        frame.unavailable(error)
    st.session_state["_took_s"] = time.monotonic() - started
    frame.pulse(notices)


if __name__ == "__main__":  # as Streamlit runs it; an import draws nothing
    main()
