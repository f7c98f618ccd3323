"""The popover in which an editor annotates the charts of the window, and takes annotations off them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from taximeter_dashboard import blocks, session
from taximeter_dashboard.alerts_api import Done
from taximeter_dashboard.components import sheet
from taximeter_dashboard.marks import annotation_marks

_SAID = "_annotation_said"
_SHOWN = 20


def popover(agents: Sequence[str]) -> None:
    """Draw it, for editors only; the scope must be set."""
    with st.popover("Annotate", icon=":material/flag:", key="annotate"):
        if said := st.session_state.pop(_SAID, None):
            sheet([blocks.note(*said)], key="annotation-said")
        with st.form("annotation", border=False):
            st.text_input("Text", key="annotation-text", max_chars=200, placeholder="What happened")
            with st.container(horizontal=True, gap="small"):
                st.text_input("At (UTC)", key="annotation-at", placeholder="now")
                st.text_input("Until (UTC)", key="annotation-until", placeholder="a moment only")
            st.selectbox(
                "Agent", agents, index=None, placeholder="All agents", key="annotation-agent"
            )
            st.text_input("Your name", key="annotation-author", max_chars=80)
            st.form_submit_button("Add", type="primary", on_click=_add, key="annotation-add")
        _in_window()


def _in_window() -> None:
    scope = session.scope()
    rows = session.alerts().annotations(scope.start, scope.end).rows
    for mark in annotation_marks(rows[:_SHOWN], scope, session.zone(), session.url):
        with st.container(
            horizontal=True, vertical_alignment="center", key=f"annotation-{mark.id}"
        ):
            sheet(
                [blocks.listing([blocks.item(mark.label, mark.text)])],
                key=f"annotation-text-{mark.id}",
            )
            st.button(
                "Delete", on_click=_delete, args=(mark.id,), key=f"annotation-delete-{mark.id}"
            )


def _add() -> None:
    state = st.session_state
    done = session.alerts().add_annotation(
        state["annotation-text"],
        at=state["annotation-at"].strip() or None,
        until=state["annotation-until"].strip() or None,
        agent_name=state["annotation-agent"],
        author=state["annotation-author"],
    )
    if done.error is None:
        for name in ("text", "at", "until"):
            state[f"annotation-{name}"] = ""
    _say(done, "It is on the charts.")


def _delete(id: str) -> None:
    _say(session.alerts().delete_annotation(id), "It is off the charts.")


def _say(done: Done, text: str) -> None:
    """Keep what became of a change for the drawing that follows, which shows the change as well."""
    st.session_state[_SAID] = (done.error or text, "bad" if done.error else "good")
