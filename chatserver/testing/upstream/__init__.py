"""A fake upstream: a model's vendor over real HTTP that behaves as the model's name says, and costs next to nothing.

    python -m chatserver.testing.upstream --port 9100        # base_url http://127.0.0.1:9100/v1

It speaks the common chat-completions format. A model's name is any word followed by options joined by dashes:

    n200       200 tokens of text (20)              wait50     the first token after 50 ms
    gap10      10 ms between tokens                 pad64      each token at least 64 bytes
    think5     5 tokens of reasoning first          thought5   the same in the other common field, `reasoning`
    stamp      every token is `@<monotonic ns>@ `   unicode    tokens of two, three and four bytes a character
    echo       says the last user message again     length     ends for length; `filter` ends for content
    tool       ends with one tool call              cached7    7 of the prompt's tokens were cached
    nousage    never tells usage                    plain      ignores `stream` and answers whole
    crlf       lines end in CR LF                   split      every byte in a chunk of its own
    beat       comments every 10 ms while waiting   tight      refuses `max_tokens` with a 400 that names its successor
    err429     answers that status                  retry3     with Retry-After: 3; `dated3` as a date
    leak       an error repeats key and question
    p30        faults hit 30 % of the requests      hang       accepts and never answers
    cut5       drops the connection after 5 tokens  stall5     falls silent after 5 tokens
    short5     ends the body cleanly after 5        oops5      an error object in the stream after 5 tokens
    garbage    lines that are not JSON in between   nodone     no [DONE]; `nofinish` no finish reason
    html       a page instead of an answer          toolong    400, the prompt is over the model's window

    fake-n100-gap20-cut5, fake-err429-retry2-p50, fake-think5-usage

POST /control {"rules": [{"key": "sk-1", "model": "*", "options": "err500-p50", "answer": "# Some text"}],
"models": [{"id": "a"}]} adds options to every request with that key and model, or says what is said; an empty list
heals. GET /control tells counters, requests (bodies and headers) and connections with their times.
POST /control/reset forgets.
"""

from __future__ import annotations

from chatserver.testing.upstream.dialect import Dialect, text_of
from chatserver.testing.upstream.orders import Rule, ToolAsk, parse_options
from chatserver.testing.upstream.script import Question, Script
from chatserver.testing.upstream.seen import Seen
from chatserver.testing.upstream.server import FakeUpstream

__all__ = [
    "Dialect",
    "FakeUpstream",
    "Question",
    "Rule",
    "Script",
    "Seen",
    "ToolAsk",
    "parse_options",
    "text_of",
]
