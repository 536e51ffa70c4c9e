"""What plugin authors test with: fixtures, fakes, and the contracts every provider and engine must keep."""

from __future__ import annotations

from chatserver.plugins import Plugins

__all__ = ["Plugins"]
