"""A web server that keeps what it is sent and answers what it is told; and a fake Slack API."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Reply = tuple[int, dict[str, str], bytes]


class FakeHttp:
    """Answers from a list, then with what `answer` makes of path, headers and body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[Reply] = []
        self.answer: Callable[[str, dict[str, str], bytes], Reply] = lambda *_: (200, {}, b"ok")
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.requests.append((self.path, headers, body))
                status, more, said = (
                    fake.answers.pop(0) if fake.answers else fake.answer(self.path, headers, body)
                )
                # Whoever asked may have been killed meanwhile.
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in more.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(said)))
                    self.end_headers()
                    self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class FakeSlack(FakeHttp):
    """The Web API's four methods over a channel kept in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.errors: dict[str, str] = {}
        self.is_lost = False
        """Take the message, and break off before the answer."""
        self.answer = self._answer

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        method = path.rpartition("/")[2]
        if headers.get("authorization") != "Bearer xoxb-SECRET":
            return self._said({"ok": False, "error": "invalid_auth"})
        if method in self.errors:
            return self._said({"ok": False, "error": self.errors[method]})
        if headers["content-type"] == "application/json":
            asked = json.loads(body)
        else:
            asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if asked.get("channel") != "C0123ABCD":
            return self._said({"ok": False, "error": "channel_not_found"})
        match method:
            case "chat.postMessage":
                ts = f"1700000000.{len(self.messages):06}"
                self.messages.append({**asked, "ts": ts})
                if self.is_lost:
                    return 500, {}, b""
                return self._said({"ok": True, "channel": "C0123ABCD", "ts": ts})
            case "chat.update":
                found = [m for m in self.messages if m["ts"] == asked["ts"]]
                found[0].update({k: v for k, v in asked.items() if k in ("text", "blocks")})
                return self._said({"ok": True, "ts": asked["ts"]})
            case "conversations.history":
                return self._listed([m for m in self.messages if "thread_ts" not in m], asked)
            case "conversations.replies":
                of = asked["ts"]
                return self._listed(
                    [m for m in self.messages if of in (m["ts"], m.get("thread_ts"))], asked
                )
        return self._said({"ok": False, "error": "unknown_method"})

    def _listed(self, messages: list[dict[str, Any]], asked: dict[str, Any]) -> Reply:
        shown = [dict(message) for message in messages[-int(asked["limit"]) :]]
        if asked.get("include_all_metadata") != "true":
            for message in shown:
                message.pop("metadata", None)
        return self._said({"ok": True, "messages": shown})

    def _said(self, answer: dict[str, Any]) -> Reply:
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
