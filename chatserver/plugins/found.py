"""Which plugins are installed and which of them may be imported: decided from metadata, before their code runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from importlib import metadata
from typing import Literal

import msgspec

from chatserver.domain.versions import Unreadable, allows, plain_name, read_requirement

GROUP = "chatserver.plugins"
BUNDLED = {
    "grove": "chatserver-grove",
    "paper": "chatserver-paper",
    "password": "chatserver-password",
    "artifacts": "chatserver-artifacts",
    "voices": "chatserver-voices",
    "knowledge": "chatserver-knowledge",
    "dictation": "chatserver-dictation",
    "piper": "chatserver-piper",
    "openai": "chatserver-openai",
    "openai_api": "chatserver-openai-api",
    "anthropic": "chatserver-anthropic",
    "gemini": "chatserver-gemini",
    "ollama": "chatserver-ollama",
    "echo": "chatserver-echo",
    "local": "chatserver-local",
    "imports": "chatserver-imports",
    "presets": "chatserver-presets",
    "gateway": "chatserver-gateway",
    "postgres": "chatserver-postgres",
    "redis": "chatserver-redis",
    "s3": "chatserver-s3",
    "mcp": "chatserver-mcp",
    "otel": "chatserver-otel",
}
"""Our own distributions by their plugin's name: loaded when installed. Everything else waits to be allowed by name."""

NAME = re.compile(r"[a-z][a-z0-9_]*")
Standing = Literal["on", "off", "found, not allowed", "refused"]


class Found(msgspec.Struct, frozen=True):
    """An installed entry point. core_range: what its distribution requires of the core; empty when it says nothing."""

    name: str
    distribution: str
    version: str
    target: str
    core_range: str
    fingerprint: str


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a found plugin, and in one sentence why, when that is not obvious."""

    found: Found
    standing: Standing
    reason: str = ""


def find_plugins() -> list[Found]:
    """Every installed entry point of our group, in order of name; nothing is imported."""
    found = []
    for distribution in metadata.distributions():
        for entry in distribution.entry_points:
            if entry.group == GROUP:
                found.append(
                    Found(
                        name=entry.name,
                        distribution=plain_name(distribution.metadata["Name"]),
                        version=distribution.version,
                        target=entry.value,
                        core_range=_required_core(distribution.requires or []),
                        fingerprint=_fingerprint(distribution),
                    )
                )
    # A distribution may be on the path twice (a checkout and its install): the first is the one that is imported.
    unique = {(one.name, one.distribution): one for one in reversed(found)}
    return sorted(unique.values(), key=lambda one: (one.name, one.distribution))


def _required_core(requirements: Iterable[str]) -> str:
    for text in requirements:
        told = read_requirement(text)
        if told is not None and told[0] == "chatserver" and "extra" not in told[2]:
            return told[1]
    return ""


def _fingerprint(distribution: metadata.Distribution) -> str:
    """SHA-256 of the list of installed files with their hashes; changes when any of them was replaced by an install."""
    record = distribution.read_text("RECORD") or ""
    return hashlib.sha256(record.encode()).hexdigest()[:16] if record else ""


def judge(
    plugins: Iterable[Found], enabled: Collection[str], disabled: Collection[str], core_version: str
) -> list[Verdict]:
    """Who may be imported. `disabled` wins over all; ours are allowed, others only by name; one distribution a name."""
    verdicts: list[Verdict] = []
    ordered = sorted(plugins, key=lambda one: (one.name, not _is_ours(one), one.distribution))
    taken: dict[str, Found] = {}
    for found in ordered:
        verdict = _judge_one(found, enabled, disabled, core_version)
        first = taken.get(found.name)
        if verdict.standing == "on" and first is not None:
            why = f"{first.distribution} already brings a plugin named {found.name}; uninstall one of the two."
            verdict = Verdict(found, "refused", why)
        elif verdict.standing == "on":
            taken[found.name] = found
        verdicts.append(verdict)
    return verdicts


def _is_ours(found: Found) -> bool:
    return BUNDLED.get(found.name) == found.distribution


def _judge_one(found: Found, enabled: Collection[str], disabled: Collection[str], core_version: str) -> Verdict:
    if found.name in disabled:
        return Verdict(found, "off", "disabled in the configuration")
    if not _is_ours(found) and found.name not in enabled:
        return Verdict(found, "found, not allowed", f'allow it with [plugins] enabled = ["{found.name}"]')
    if not NAME.fullmatch(found.name):
        return Verdict(found, "refused", "its name must be lower-case letters, digits and _, beginning with a letter")
    if not _fits(found.core_range, core_version):
        why = (
            f"{found.distribution} {found.version} needs chatserver{found.core_range}, and this is {core_version}; "
            f"install a release of {found.distribution} that fits."
        )
        return Verdict(found, "refused", why)
    return Verdict(found, "on")


def _fits(core_range: str, core_version: str) -> bool:
    """A range nobody can read fits no version."""
    try:
        return allows(core_range, core_version)
    except Unreadable:
        return False
