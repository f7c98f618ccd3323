"""The text of alerts.yaml on the Alerts page: editors check, try and save it, viewers read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from taximeter_dashboard import blocks, rules_text, session
from taximeter_dashboard.alerts_api import AlertsApi
from taximeter_dashboard.blocks import Block
from taximeter_dashboard.components import sheet

TRY_DAYS: Final = (7, 30)
_HEIGHT: Final = 420
_TEXT, _AUTHOR = "rules-text", "rules-author"
_BASE: Final = "_rules_base"
"""The text that the edited one began with, and its digest."""
_SAID: Final = "_rules_said"
_FILE: Final = "_rules_file"
"""What the service said of it last."""


def draw(api: AlertsApi) -> None:
    """Draw it folded; what is typed stays until the browser's tab is closed."""
    # Once without an answer must not take the text away from under who types.
    file = api.rules_file() or st.session_state.get(_FILE)
    if not file:
        return
    st.session_state[_FILE] = file
    if problem := file.get("problem"):
        sheet([blocks.note(str(problem), "bad")], key="rules-problem")
    is_editor = session.may_edit()
    label = "Edit alerts.yaml" if is_editor else "Show alerts.yaml"
    fold = st.expander(label, icon=":material/edit_note:", key="rules-file", on_change="rerun")
    if not fold.open:
        return
    with fold:
        sheet([blocks.title("", rules_text.about(file, session.zone()))], key="rules-about")
        if is_editor:
            _edit(file)
        elif not file.get("is_in_force"):
            # With faults it may hold what belongs into no file: a secret.
            text = "What stands there is not in force, or not yet: only editors see it."
            sheet([blocks.note(text)], key="rules-hidden")
        else:
            st.code(str(file.get("text") or ""), language="yaml", line_numbers=True, height=_HEIGHT)


def is_in_use() -> bool:
    """Return whether this session has begun to edit."""
    return _BASE in st.session_state


def _edit(file: Mapping[str, Any]) -> None:
    state = st.session_state
    if _BASE not in state:
        _begin_with(file)
    why_not = file.get("why_not_writable")
    st.text_area(
        "alerts.yaml", height=_HEIGHT, key=_TEXT, persist_state="session",
        on_change="rerun" if why_not else "ignore", label_visibility="collapsed",
    )  # fmt: skip
    _if_changed_meanwhile(file)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="rules-do"):
        st.button("Check", key="rules-check", on_click=_check)
        for days in TRY_DAYS:
            st.button(
                f"Try on the last {days} days", key=f"rules-try-{days}", on_click=_try, args=(days,)
            )
        if why_not:
            st.download_button(
                "Download", data=state[_TEXT], file_name="alerts.yaml", mime="application/yaml",
                key="rules-download", on_click="ignore",
            )  # fmt: skip
        else:
            st.text_input(
                "Your name", key=_AUTHOR, max_chars=80, on_change="ignore", width=180,
                persist_state="session",
            )  # fmt: skip
            st.button("Save", type="primary", key="rules-save", on_click=_save)
    if why_not:
        text = f"{why_not} Copy or download the text, and put it where that file comes from."
        sheet([blocks.note(text, "warn")], key="rules-read-only")
    if said := state.get(_SAID):
        sheet(said, key="rules-said")


def _begin_with(file: Mapping[str, Any]) -> None:
    text, state = str(file.get("text") or ""), st.session_state
    state[_TEXT] = text
    state[_BASE] = (text, file.get("digest"))
    state.pop(_SAID, None)


def _if_changed_meanwhile(file: Mapping[str, Any]) -> None:
    """Say that the file is no longer the one that is edited, and what saving would change in it."""
    state = st.session_state
    if file.get("digest") == state[_BASE][1]:
        return
    text = "The file has changed since you began. Saving over it would change:"
    difference = rules_text.difference(str(file.get("text") or ""), state[_TEXT])
    sheet([blocks.note(text, "warn"), blocks.verbatim(difference)], key="rules-changed")
    with st.container(horizontal=True, gap="small", key="rules-which"):
        st.button("Take the file's text", key="rules-take", on_click=_begin_with, args=(file,))
        st.button("Keep mine", key="rules-keep", on_click=_go_on_from, args=(file,))


def _go_on_from(file: Mapping[str, Any]) -> None:
    st.session_state[_BASE] = (str(file.get("text") or ""), file.get("digest"))


def _is_clean(text: str) -> bool:
    """Check a text, and keep what that says to be drawn."""
    done = session.alerts().check_rules(text)
    said = (
        [blocks.note(done.error, "bad")]
        if done.error
        else rules_text.check_blocks(done.answer, text)
    )
    st.session_state[_SAID] = said
    return not (done.error or done.answer.get("faults"))


def _check() -> None:
    _is_clean(st.session_state[_TEXT])


def _try(days: int) -> None:
    text = st.session_state[_TEXT]
    if _is_clean(text):
        done = session.alerts().start_backtest(days, text)
        _say(
            done.error,
            f"{days} days are being judged by this text; the answer comes below, under What would have fired.",
        )


def _save() -> None:
    state = st.session_state
    text = state[_TEXT]
    if not _is_clean(text):
        return
    before = state[_BASE][1]
    done = session.alerts().save_rules(text, before, state[_AUTHOR] or "")
    if done.error is None:
        _go_on_from(done.answer.get("file") or {})
    kept = "; the text before is kept as alerts.yaml.bak" if before else ""
    _say(done.error, f"Saved. The alerts service takes it up at its next evaluation{kept}.")


def _say(error: str | None, text: str) -> None:
    said: list[Block] = [blocks.note(error or text, "bad" if error else "good")]
    st.session_state[_SAID] = said
