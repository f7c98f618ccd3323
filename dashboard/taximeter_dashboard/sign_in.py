"""Who may see the dashboard and who may change things: tokens or people in, a role out."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from taximeter.settings.secret import Secret
from taximeter.settings.settings import DashboardSettings

Role = Literal["viewer", "editor"]
COOKIE: Final = "taximeter_session"
LASTS_S: Final = 12 * 3_600
"""How long a sign-in by token is good for."""


@dataclass(frozen=True, slots=True)
class Access:
    """How people get their role; without tokens and people whoever reaches the page is an editor."""

    tokens: Mapping[Role, Secret] = field(default_factory=dict)
    people: Mapping[Role, tuple[str, ...]] = field(default_factory=dict)
    """E-mail addresses, * for any part of one."""
    content: Literal["everyone", "editors", "nobody"] = "everyone"

    @property
    def is_open(self) -> bool:
        return not self.tokens and not self.people

    def role_of(self, token: str) -> Role | None:
        """Return the role that a token gives, None if it is no token of ours."""
        # All are compared, so that the answer's delay tells nothing.
        fits: dict[Role, bool] = {role: known.matches(token) for role, known in self.tokens.items()}
        return _highest(fits)

    def role_of_person(self, claims: Mapping[str, Any]) -> Role | None:
        """Return the role of who signed in at the identity provider, None if they have none.

        An address that the provider calls unverified counts for nothing.
        """
        address = str(claims.get("email") or "").lower()
        # Some providers say it in text.
        is_unverified = str(claims.get("email_verified", True)).lower() == "false"
        if not address or is_unverified:
            return None
        fits: dict[Role, bool] = {
            role: any(fnmatchcase(address, known.lower()) for known in addresses)
            for role, addresses in self.people.items()
        }
        return _highest(fits)

    def sealed(self, role: Role, now_s: float) -> str:
        """Return the cookie of a role, good for LASTS_S."""
        text = f"{role}.{int(now_s) + LASTS_S}"
        return f"{text}.{self._seal(role, text)}"

    def opened(self, cookie: str | None, now_s: float) -> Role | None:
        """Return the role in a cookie that we sealed and that is still good."""
        try:
            name, until, seal = (cookie or "").split(".")
            is_good = int(until) > now_s
        except ValueError:
            return None
        for role in self.tokens:
            own = self._seal(role, f"{name}.{until}").encode()
            if role == name and hmac.compare_digest(own, seal.encode("utf-8", "replace")):
                return role if is_good else None
        return None

    def may_see_content(self, role: Role) -> bool:
        """Return whether this role may read what agents were told and said."""
        return self.content == "everyone" or (self.content == "editors" and role == "editor")

    def _seal(self, role: Role, text: str) -> str:
        # The key is the token itself: another token ends the sign-ins of the one before.
        key = self.tokens[role].reveal().encode()
        return hmac.new(key, f"taximeter {text}".encode(), hashlib.sha256).hexdigest()


def access_of(settings: DashboardSettings) -> Access:
    """Return who may do what by these settings."""
    given = (("viewer", settings.viewer_token), ("editor", settings.editor_token))
    tokens: dict[Role, Secret] = {role: token for role, token in given if token is not None}  # type: ignore[misc]
    people: dict[Role, tuple[str, ...]] = {}
    if settings.oidc_file is not None:
        people = {"viewer": settings.viewers, "editor": settings.editors}
    return Access(tokens, people, settings.content)


def _highest(fits: Mapping[Role, bool]) -> Role | None:
    if fits.get("editor"):
        return "editor"
    return "viewer" if fits.get("viewer") else None
