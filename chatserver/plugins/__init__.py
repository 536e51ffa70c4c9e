"""Find, verify, order and call plugins; the core asks hooks and never knows who answers."""

from __future__ import annotations

from chatserver.plugins.context import Context
from chatserver.plugins.faults import Notice
from chatserver.plugins.found import BUNDLED, Found
from chatserver.plugins.loaded import PluginFault, Plugins
from chatserver.plugins.loading import PluginReport
from chatserver.plugins.press import Press

__all__ = ["BUNDLED", "Context", "Found", "Notice", "PluginFault", "PluginReport", "Plugins", "Press"]
