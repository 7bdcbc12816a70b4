"""Hides secrets in logs and messages: tokens, secrets, credentials in headers and addresses."""

from __future__ import annotations

import re

HIDDEN = "***"
_SECRETS = re.compile(
    r"hop_[0-9A-Za-z]{8,}"  # a token of the REST interface
    r"|whsec_[0-9A-Za-z+/=]{8,}"  # the secret of a webhook
    r"|(?<!\d)\d+\.[\w-]{24}(?![\w-])"  # the token of a lease
    r"|(?<=bearer )\S{8,}|(?<=lease )\S{16,}|(?<=basic )\S{8,}"  # the header Authorization
    r"|(?<=slack://)\S+|(?<=discord://)\S+|(?<=ntfy://)\S+|(?<=ntfys://)\S+"  # of a notice
    r"|(?<=mailto://)\S+|(?<=mailtos://)\S+"
    r"|(?<=://)[^\s/@]+:[^\s@]+(?=@)",  # user and password in an address
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Return the text with `***` in the place of each secret."""
    return _SECRETS.sub(HIDDEN, text)
