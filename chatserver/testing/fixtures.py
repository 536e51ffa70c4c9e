"""The pytest plugin of chatserver: fixtures for whoever tests a plugin."""

from __future__ import annotations
