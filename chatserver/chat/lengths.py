"""How many messages lie above one, remembered: a branch only grows at its end."""

from __future__ import annotations

from chatserver.store import messages as message_rows
from chatserver.store.database import Tx

NEAR = 40
"""How far up a remembered length is looked for, before all of the branch is walked."""
MOST = 10_000

Place = tuple[str, tuple[str, ...]]
"""A message, and where the context of its conversation was cleared: that alone changes what lies above."""


class Lengths:
    """Of this node. Asked inside transactions, so from several threads; what two of them remember is the same."""

    def __init__(self) -> None:
        self._known: dict[Place, int] = {}

    def of(self, tx: Tx, conversation_id: str, tip_id: str) -> int:
        """As `message_rows.length_to`: the messages on the path down to the tip, below the last marker."""
        markers = message_rows.markers_of(tx, conversation_id)
        length = self._from_near(tx, conversation_id, tip_id, markers)
        if length is None:
            length = message_rows.length_to(tx, conversation_id, tip_id)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[tip_id, markers] = length
        return length

    def _from_near(self, tx: Tx, conversation_id: str, tip_id: str, markers: tuple[str, ...]) -> int | None:
        near = message_rows.ids_up_from(tx, conversation_id, tip_id, NEAR)
        for above, message_id in enumerate(near):
            if message_id in markers:
                return above
            known = self._known.get((message_id, markers))
            if known is not None:
                return above + known
        return len(near) if len(near) < NEAR else None
