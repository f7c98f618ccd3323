"""Who answers an SDK's client: its address, and behind an OpenAI-shaped one the provider and its usage shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

# By host: (provider, the shape of its chat usage).
_HOSTS: Final = {
    "api.deepseek.com": ("deepseek", "deepseek"),
    "api.x.ai": ("x_ai", "xai_chat"),
    "api.groq.com": ("groq", "openai_chat"),
    "api.mistral.ai": ("mistral_ai", "openai_chat"),
    "api.together.xyz": ("together", "openai_chat"),
    "api.fireworks.ai": ("fireworks", "openai_chat"),
    "openrouter.ai": ("openrouter", "openai_chat"),
    "api.perplexity.ai": ("perplexity", "openai_chat"),
}

# By a word in the name of the client's class.
_CLOUDS: Final = {
    "Azure": "azure.ai.openai",
    "Bedrock": "aws.bedrock",
    "Vertex": "gcp.vertex_ai",
}


@dataclass(frozen=True, slots=True)
class Server:
    """Who a client asks."""

    url: Any
    host: str | None
    port: int | None
    provider: str
    chat_shape: str
    cloud: str | None = None
    """Who hosts the API, where the client is made for a cloud."""


NOBODY: Final = Server(None, None, None, "openai", "openai_chat")
"""Where a client does not tell."""
_servers: Final[WeakKeyDictionary[Any, Server]] = WeakKeyDictionary()


def server_of(client: Any) -> Server:
    """Return who answers a client; read again when the program gives it another address."""
    url = getattr(client, "_base_url", None) or client.base_url  # the property is slow
    known = _servers.get(client)
    if known is None or known.url is not url:
        known = _servers[client] = _read(client, url)
    return known


def _read(client: Any, url: Any) -> Server:
    from urllib.parse import urlsplit

    parts = urlsplit(str(url))
    provider, shape = _HOSTS.get(parts.hostname or "", ("openai", "openai_chat"))
    cloud = next((name for word, name in _CLOUDS.items() if word in type(client).__name__), None)
    if cloud is not None:
        provider, shape = cloud, "openai_chat"
    return Server(url, parts.hostname, parts.port, provider, shape, cloud)
