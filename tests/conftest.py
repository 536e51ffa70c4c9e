"""What every test of the core may use."""

from __future__ import annotations
