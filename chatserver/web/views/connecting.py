"""The first page of whoever runs the server: what was found, what can be connected, which models answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from chatserver.domain.extend import ChannelOffer
from chatserver.domain.models import ChannelLine, Model
from chatserver.web.views.chat import ModelView, model_views
from chatserver.web.views.frame import Problem
from chatserver.web.views.times import seconds_text
from chatserver.words import gettext as _
from chatserver.words import ngettext, number_text


class FoundView(msgspec.Struct, frozen=True):
    """A channel that is there. model: one of its models to try, '' when it has none."""

    name: str
    title: str
    note: str
    is_well: bool
    model: str = ""
    kept_id: str = ""


class OfferView(msgspec.Struct, frozen=True):
    """A service to connect. address: known, or '' when the person must give it."""

    title: str
    address: str
    needs_key: bool
    is_picked: bool


class ConnectView(msgspec.Struct, frozen=True):
    """news and problem: what the last press of a button brought. pick: the models to begin with, once there are any."""

    found: tuple[FoundView, ...]
    offers: tuple[OfferView, ...]
    models: tuple[ModelView, ...] = ()
    picked: str = ""
    typed_address: str = ""
    news: str = ""
    problem: Problem | None = None


def connect_view(
    lines: Iterable[ChannelLine],
    offers: Sequence[ChannelOffer],
    models: Sequence[Model],
    *,
    service: str = "",
    address: str = "",
    news: str = "",
    problem: Problem | None = None,
) -> ConnectView:
    real = [model for model in models if not model.is_demo]
    wanted = service if any(offer.title == service for offer in offers) else (offers[0].title if offers else "")
    return ConnectView(
        found=tuple(_found(line) for line in lines),
        offers=tuple(
            OfferView(offer.title, offer.base_url, offer.needs_key, offer.title == wanted) for offer in offers
        ),
        models=model_views(real),
        picked=real[0].id if real else "",
        typed_address=address,
        news=news,
        problem=problem,
    )


def _found(line: ChannelLine) -> FoundView:
    count = ngettext("{count} model", "{count} models", line.models).format(count=number_text(line.models))
    where = {"file": _("in the configuration file"), "found": _("found on this machine")}.get(line.source, "")
    well = f"{count} · {where}" if where else count
    is_well = line.models > 0
    note = well if is_well else line.problem or _("It names no model yet.")
    return FoundView(line.name, line.title, note, is_well, line.first_model, line.kept_id)


def trial_text(model: str, first_token_ms: int) -> str:
    return _("{model} answered; the first word came after {time}.").format(
        model=model, time=seconds_text(first_token_ms)
    )
