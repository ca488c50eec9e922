"""Canonical JSON: numbers as RFC 8785 lists them, and equal values as equal bytes."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.backtests import canonical

# RFC 8785, appendix B: IEEE 754 bits and the text that they must become.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-canonical.LARGEST_INTEGER, canonical.LARGEST_INTEGER),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_the_rfc_lists_them(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical.number(value) == text


def test_the_rfcs_example() -> None:
    value = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    expected = (
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )
    assert canonical.canonical(value).decode() == expected


def test_names_are_sorted_by_utf_16_code_units() -> None:
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]  # the RFC's section 3.2.3
    expected = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical.canonical(dict.fromkeys(names)))) == expected


@given(values)
def test_what_is_read_back_is_equal_and_has_the_same_bytes(value: canonical.Json) -> None:
    once = canonical.canonical(value)
    read = json.loads(once, parse_int=float)  # to the RFC every number is a double
    assert read == value
    assert canonical.canonical(read) == once


@given(st.dictionaries(names, scalars, min_size=2, max_size=6), st.randoms())
def test_the_order_of_names_means_nothing(value: dict[str, canonical.Json], random: object) -> None:
    items = list(value.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert canonical.digest(dict(items)) == canonical.digest(value)


@given(st.integers(-canonical.LARGEST_INTEGER, canonical.LARGEST_INTEGER))
def test_an_integer_and_its_float_are_one_number(value: int) -> None:
    assert canonical.canonical(float(value)) == canonical.canonical(value) == str(value).encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {"\udfff": 1}])
def test_what_two_readers_could_see_differently_is_refused(value: canonical.Json) -> None:
    with pytest.raises(ValueError):
        canonical.canonical(value)


@pytest.mark.parametrize("value", [b"x", {1: 2}, object(), {1, 2}])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical.canonical(value)  # type: ignore[arg-type]
