"""Random Markdown documents for the tests: the shapes that language models write, and those that break parsers."""

from __future__ import annotations

import random

WRITTEN = (
    "lorem ipsum dolor **bold** *em* `code` [link](http://a.example/c) [ref] [ref][1] "
    "https://x.example/z_a(b) $x^2$ $5 $ $$ \\( a_b \\) \\[ \\] & &amp; <b> <http://q.example> "
    "![img](http://e.example/g.png) ~~no~~ \\* | || __x__ _y_ 你好 مرحبا \u00a0 ** * ` ``` # > - 1. "
    ":-- --- === [ ] [x] !"
)
WORDS = WRITTEN.split(" ")


def line(chance: random.Random) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(chance.randrange(0, 9)))


def paragraph(chance: random.Random) -> str:
    ends = ["\n", "\n", "  \n", "\\\n", "\r\n", " \n", "\n\t"]
    return "".join(line(chance) + chance.choice(ends) for _ in range(chance.randrange(0, 3))) + line(chance)


def heading(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return "#" * chance.randrange(1, 8) + " " + line(chance)
    return line(chance) + "\n" + chance.choice(["---", "===", "--", "-"])


def bullets(chance: random.Random) -> str:
    mark = chance.choice(["-", "*", "+", "1.", "2)", "10."])
    nested = ["", "\n  {}", "\n\n    {}", "\n  - {}", "\n  ```py\n  x = 1\n  ```"]
    items = [
        mark
        + " " * chance.randrange(1, 4)
        + chance.choice(["", "[ ] ", "[x] ", "> ", "```\n  "])
        + line(chance)
        + chance.choice(nested).replace("{}", line(chance))
        for _ in range(chance.randrange(1, 5))
    ]
    return chance.choice(["\n", "\n\n"]).join(items)


def quote(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return "> " + line(chance)
    return "\n".join("> " * chance.randrange(0, 3) + block(chance).replace("\n", "\n> ") for _ in range(2))


def fence(chance: random.Random) -> str:
    mark = chance.choice(["```", "~~~", "````"])
    inner = ["x = 1", "", "  indented", "```", " ```", "~~~", "def f(): # hi", line(chance)]
    body = "\n".join(chance.choice(inner) for _ in range(chance.randrange(0, 5)))
    head = " " * chance.choice([0, 0, 0, 1, 2, 4]) + mark + chance.choice(["", "py", "js x", "`", "nope"])
    return head + "\n" + body + chance.choice(["\n" + mark, "\n" + mark + " ", "\n" + mark + "x", "", "\n"])


def table(chance: random.Random) -> str:
    columns = chance.randrange(1, 4)

    def row() -> str:
        return "| " + " | ".join(line(chance)[:12] for _ in range(columns)) + chance.choice([" |", ""])

    rule = "|".join(chance.choice(["--", ":-:", "--:", ":--"]) for _ in range(columns + chance.choice([0, 0, 0, 1])))
    return "\n".join([row(), f"|{rule}|", *(row() for _ in range(chance.randrange(0, 4)))])


def formula(chance: random.Random) -> str:
    body = chance.choice(["a^2", "\\frac{a}{b}", "x\n\ny", line(chance)])
    if chance.random() < 0.2:
        return chance.choice(["\\[\nx\n\\]", "\\[ x \\]"])
    return (
        "$$"
        + chance.choice(["", "\n"])
        + body
        + chance.choice(["", "\n"])
        + chance.choice(["$$", "$$ ", "", "$$ more"])
    )


def definition(chance: random.Random) -> str:
    target = chance.choice(["a.example", 'c.example "title"', "e.example\n'on two\nlines'", "g"])
    return chance.choice(["[ref]: http://" + target, "[1]: <http://z.example>\n" + line(chance)])


def oddity(chance: random.Random) -> str:
    return chance.choice(["---", "***", "- - -", "    a\n\n    b", "<div>hi</div>", "<script>x</script>"])


KINDS = (
    paragraph,
    paragraph,
    paragraph,
    heading,
    bullets,
    bullets,
    quote,
    fence,
    fence,
    table,
    table,
    formula,
    definition,
    oddity,
)


def block(chance: random.Random) -> str:
    return chance.choice(KINDS)(chance)


def document(chance: random.Random) -> str:
    gaps = ["\n", "\n\n", "\n\n", "\n\n\n", "\n \n"]
    text = "".join(block(chance) + chance.choice(gaps) for _ in range(chance.randrange(1, 8)))
    return text[: chance.choice([None, None, -1, -3])]


def pieces(chance: random.Random, text: str) -> list[str]:
    """The text cut into steps, as it might arrive."""
    longest = chance.choice([1, 3, 6, 20, 80])
    found = []
    while text:
        size = chance.randrange(1, longest + 1)
        found.append(text[:size])
        text = text[size:]
    return found
