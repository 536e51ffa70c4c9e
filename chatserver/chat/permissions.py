"""May this actor do this? The account's and the key's rights first, then every plugin's veto."""

from __future__ import annotations

from chatserver.domain.access import Actor, default_permission
from chatserver.errors import Refused, _
from chatserver.plugins import Plugins


class Permissions:
    """Asked once for each request, before limits."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    async def allows(self, actor: Actor, permission: str) -> bool:
        """No plugin can grant what the account or the key does not have; one False of any of them vetoes."""
        if not default_permission(actor, permission):
            return False
        if not self._plugins.has("permission_allowed"):
            return True
        return False not in await self._plugins.gather("permission_allowed", actor=actor, permission=permission)

    async def require(self, actor: Actor, permission: str) -> None:
        """Raises Refused `not_allowed`."""
        if not await self.allows(actor, permission):
            if actor.key_id:
                sentence = _("This key may not do this (%(permission)s). Ask whoever runs this server.")
            else:
                sentence = _("Your account may not do this (%(permission)s). Ask whoever runs this server.")
            raise Refused(sentence, values={"permission": permission}, code="not_allowed")
