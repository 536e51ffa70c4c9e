"""Ranges of versions are read as Python's own tools read them."""

from __future__ import annotations

import itertools

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from chatserver.domain.versions import Unreadable, allows, plain_name, read_requirement

VERSIONS = ("0.1", "0.1.0", "0.1.7", "0.2.0.dev1", "0.2.0rc1", "0.2", "0.2.0.post1", "0.3.0a2", "0.3.0", "1.0", "10.2")
RANGES = (
    ">=0.1,<0.3",
    ">=0.2",
    "<0.3",
    "<=0.2",
    ">0.2",
    "==0.1",
    "!=0.1",
    "==0.1.*",
    "!=0.1.*",
    "~=0.1",
    "~=0.1.0",
    "===0.1.0",
    ">=0.1 , <10",
    "",
)


@pytest.mark.parametrize(("wanted", "version"), list(itertools.product(RANGES, VERSIONS)))
def test_a_range_allows_what_the_reference_allows(wanted: str, version: str) -> None:
    assert allows(wanted, version) == SpecifierSet(wanted).contains(version, prereleases=True)


@pytest.mark.parametrize(
    "text",
    [
        "chatserver>=0.1,<0.3",
        "Chat.Server (>=0.1, <0.3)",
        'chatserver[box] >=0.1 ; extra == "x"',
        "chatserver",
        "sqlite_utils==4.*",
    ],
)
def test_a_requirement_is_taken_apart_as_the_reference_does(text: str) -> None:
    reference, told = Requirement(text), read_requirement(text)
    assert told is not None
    assert told[0] == plain_name(reference.name)
    assert SpecifierSet(told[1]) == reference.specifier
    assert bool(told[2]) == (reference.marker is not None)


@pytest.mark.parametrize("text", ["", "@", ">=1", "a b c"])
def test_what_is_no_requirement(text: str) -> None:
    assert read_requirement(text) is None


@pytest.mark.parametrize(("wanted", "version"), [(">=one", "1.0"), ("about 2", "1.0"), (">=1", "new")])
def test_what_nobody_can_read_is_said(wanted: str, version: str) -> None:
    with pytest.raises(Unreadable):
        allows(wanted, version)
