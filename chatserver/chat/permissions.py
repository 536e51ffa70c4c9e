"""May this actor do this? The account's and the key's rights first, then every plugin's veto."""

from __future__ import annotations

from chatserver.domain.access import Actor, default_permission
from chatserver.errors import Refused
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
            whose = "This key" if actor.key_id else "Your account"
            raise Refused(f"{whose} may not do this ({permission}). Ask whoever runs this server.", code="not_allowed")
