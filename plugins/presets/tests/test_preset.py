"""What a preset is: its variables, its bounds, and what is put into a text."""

from __future__ import annotations

import msgspec
import pytest
from chatserver_presets.preset import (
    Choice,
    Content,
    check_content,
    check_values,
    fill,
    read_choice,
    read_parameters,
)

from chatserver import BadInput, Model, Parameters


def test_variables_are_found_once_in_their_order() -> None:
    content = Content(
        "A", "Be {{ tone }} in {{city}}, {{tone}}. {{not one}} {single} {{1st}}", "In {{ville}} {{città}}"
    )
    assert content.variables == ("tone", "city", "ville", "città")


def test_a_value_is_text_also_when_it_looks_like_a_variable() -> None:
    values = {"a": "{{b}} \\1 $x", "b": "secret"}
    assert fill("{{a}}-{{ b }}-{{c}}", values) == "{{b}} \\1 $x-secret-{{c}}"


def test_missing_values_are_named_and_others_left_out() -> None:
    content = Content("Guide", "{{city}} {{days}}")
    with pytest.raises(BadInput, match="The preset Guide wants a value for: city and days") as refused:
        check_values(content, {"city": "  ", "other": "x"})
    assert (refused.value.code, refused.value.status) == ("missing_values", 422)
    assert check_values(content, {"city": "Oslo", "days": "3", "other": "x"}) == {"city": "Oslo", "days": "3"}
    with pytest.raises(BadInput, match="city may have 4,000 characters"):
        check_values(content, {"city": "x" * 4001, "days": "3"})


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (Content("  \n"), "no_name"),
        (Content("x" * 81), "too_long"),
        (Content("A", "x" * 20_001), "too_long"),
        (Content("A", after="x" * 20_001), "too_long"),
        (Content("A", "nul \x00"), "bad_text"),
        (Content("A", " ".join(f"{{{{v{number}}}}}" for number in range(21))), "too_many_variables"),
    ],
)
def test_what_does_not_fit_is_refused(content: Content, code: str) -> None:
    with pytest.raises(BadInput) as refused:
        check_content(content)
    assert (refused.value.code, refused.value.status) == (code, 422)


def test_a_name_is_one_line_and_ends_are_trimmed() -> None:
    assert check_content(Content(" a\n b ", " x ", "\n")) == Content("a b", "x", "")


@pytest.mark.parametrize(
    "typed", [("hot", "", ""), ("2.1", "", ""), ("nan", "", ""), ("", "-1", ""), ("", "1e3", ""), ("", "", "huge")]
)
def test_parameters_that_are_none_are_refused(typed: tuple[str, str, str]) -> None:
    with pytest.raises(BadInput):
        read_parameters(*typed)


def test_parameters_reach_a_model_that_knows_them() -> None:
    content = Content("A", parameters=read_parameters("0,5", "9000", "high"))
    assert content.parameters == Parameters(0.5, 9000, "high")
    assert content.parameters.for_model(Model("plain", max_output_tokens=4000)) == {
        "temperature": 0.5,
        "max_output": 4000,
    }
    thinker = Model("thinker", abilities=("reasoning",))
    assert content.parameters.for_model(thinker)["reasoning_effort"] == "high"
    assert Content("A").parameters.for_model(thinker) == {}


def test_a_choice_is_an_object_or_an_id() -> None:
    assert read_choice(msgspec.Raw(b'{"id":"p1","values":{"a":"b"}}')) == Choice("p1", 0, {"a": "b"})
    assert read_choice(msgspec.Raw(b'"p1"')) == Choice("p1")
    for wrong in (b"7", b"null", b'{"id":7}', b'{"values":{"a":1}}', b"[]"):
        with pytest.raises(BadInput) as refused:
            read_choice(msgspec.Raw(wrong))
        assert refused.value.code == "bad_preset"
