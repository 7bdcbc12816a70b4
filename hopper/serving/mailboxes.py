"""How the processes of one server tell each other where something is ready, without the database.

A message may get lost: a process with waiting claims also looks once a second.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Collection
from contextlib import suppress

MOST_WORDS = 500
"""The most words of one message."""
_MOST_BYTES = 1 << 17


class Mailboxes:
    """A socket for each process, made before the fork.

    A process reads its own mailbox and writes to the mailboxes of all others.
    """

    def __init__(self, number: int) -> None:
        self._ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(number)]
        for end in (end for ends in self._ends for end in ends):
            end.setblocking(False)

    def tell(self, own: int | None, words: Collection[str]) -> None:
        """Send words without line ends to all other processes. `own` is None for the sweep."""
        chosen = sorted(words)[:MOST_WORDS]
        for number, (_, end) in enumerate(self._ends):
            if number != own:
                # The socket is full: that process finds the tasks at its next look.
                with suppress(OSError):
                    _send(end, chosen)

    def listen(self, own: int, heard: Callable[[Collection[str]], None]) -> None:
        """Call `heard` with the words of each message to this process, in its event loop."""
        asyncio.get_running_loop().add_reader(self._ends[own][0], self.hear, own, heard)

    def hear(self, own: int, heard: Callable[[Collection[str]], None]) -> None:
        """Take the messages that have come."""
        with suppress(BlockingIOError):
            while message := self._ends[own][0].recv(_MOST_BYTES):
                heard(message.decode().split("\n"))


def _send(end: socket.socket, words: list[str]) -> None:
    try:
        end.send("\n".join(words).encode())
    except OSError as error:
        # Some systems take messages of two kilobytes at most.
        if error.errno != errno.EMSGSIZE or len(words) == 1:
            raise
        middle = len(words) // 2
        _send(end, words[:middle])
        _send(end, words[middle:])
