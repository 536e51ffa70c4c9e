"""How each language writes dates, numbers and lists: the CLDR's data, written by `scripts/formats.py`."""

from __future__ import annotations

from typing import NamedTuple


class Ways(NamedTuple):
    """One language. dates: by skeleton, with the letters of the CLDR's fields as places. lists: two; first and
    second; those between; all and the last."""

    months: tuple[str, ...]
    short_months: tuple[str, ...]
    month_titles: tuple[str, ...]
    dates: dict[str, str]
    decimal: str
    group: str
    percent: str
    lists: tuple[str, str, str, str]
    narrow_list: str


WAYS = {
    "en": Ways(
        months=(
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ),
        short_months=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
        month_titles=(
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ),
        dates={"Hm": "{HH}:{mm}", "MMMd": "{MMM} {d}", "yMMMd": "{MMM} {d}, {y}", "yMMMM": "{MMMM} {y}"},
        decimal=".",
        group=",",
        percent="{0}%",
        lists=("{0} and {1}", "{0}, {1}", "{0}, {1}", "{0}, and {1}"),
        narrow_list="{0}, {1}",
    ),
    "zh": Ways(
        months=(
            "一月",
            "二月",
            "三月",
            "四月",
            "五月",
            "六月",
            "七月",
            "八月",
            "九月",
            "十月",
            "十一月",
            "十二月",
        ),
        short_months=("1月", "2月", "3月", "4月", "5月", "6月", "7月", "8月", "9月", "10月", "11月", "12月"),
        month_titles=(
            "一月",
            "二月",
            "三月",
            "四月",
            "五月",
            "六月",
            "七月",
            "八月",
            "九月",
            "十月",
            "十一月",
            "十二月",
        ),
        dates={"Hm": "{HH}:{mm}", "MMMd": "{M}月{d}日", "yMMMd": "{y}年{M}月{d}日", "yMMMM": "{y}年{M}月"},
        decimal=".",
        group=",",
        percent="{0}%",
        lists=("{0}和{1}", "{0}、{1}", "{0}、{1}", "{0}和{1}"),
        narrow_list="{0}、{1}",
    ),
    "fr": Ways(
        months=(
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ),
        short_months=(
            "janv.",
            "févr.",
            "mars",
            "avr.",
            "mai",
            "juin",
            "juil.",
            "août",
            "sept.",
            "oct.",
            "nov.",
            "déc.",
        ),
        month_titles=(
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ),
        dates={"Hm": "{HH}:{mm}", "MMMd": "{d} {MMM}", "yMMMd": "{d} {MMM} {y}", "yMMMM": "{MMMM} {y}"},
        decimal=",",
        group="\u202f",
        percent="{0}\u00a0%",
        lists=("{0} et {1}", "{0}, {1}", "{0}, {1}", "{0} et {1}"),
        narrow_list="{0}, {1}",
    ),
}
