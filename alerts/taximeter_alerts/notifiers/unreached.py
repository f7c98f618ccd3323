"""Why a receiver was not reached: an exception in, words without its address out."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl


def why_unreached(error: BaseException) -> str:
    """Return why there was no connection; never the exception's own text, which may hold the address.

    >>> why_unreached(ConnectionRefusedError(111, "http://secret")), why_unreached(TimeoutError())
    ('connection refused', 'no answer in time')
    >>> why_unreached(socket.gaierror(socket.EAI_NONAME, "secret"))
    'its name is not known'
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "its certificate or TLS is not accepted"
        if isinstance(cause, socket.gaierror):
            return "its name is not known"
        if isinstance(cause, smtplib.SMTPServerDisconnected):
            return "it closed the connection"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        cause = cause.__cause__ or cause.__context__
    return "no connection"
