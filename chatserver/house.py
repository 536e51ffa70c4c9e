"""The assembled server: every part made once, started in order, stopped in reverse; handed to web and commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog

from chatserver.chat.accounts import Accounts
from chatserver.chat.asides import Asides
from chatserver.chat.audit import Audit
from chatserver.chat.blobs import Blobs
from chatserver.chat.branches import Branches
from chatserver.chat.bringing import Bringing
from chatserver.chat.calling import Calling
from chatserver.chat.channels import Channels
from chatserver.chat.comparisons import Comparisons
from chatserver.chat.consents import Consents
from chatserver.chat.console import Console
from chatserver.chat.conversations import Conversations
from chatserver.chat.direct import Directs
from chatserver.chat.disk_watch import DiskWatch
from chatserver.chat.drafts import Drafts
from chatserver.chat.estimates import Estimates
from chatserver.chat.exports import OwnExports
from chatserver.chat.feedback import FeedbackBox
from chatserver.chat.files import Files
from chatserver.chat.filing import Filing
from chatserver.chat.flusher import Flusher
from chatserver.chat.gauges import Gauges
from chatserver.chat.house_settings import HouseSettings
from chatserver.chat.housekeeping import Housekeeping
from chatserver.chat.leaving import Leaving
from chatserver.chat.live import Live
from chatserver.chat.meters import Meters
from chatserver.chat.notices import Notices
from chatserver.chat.overviews import Overviews
from chatserver.chat.permissions import Permissions
from chatserver.chat.probes import Probes
from chatserver.chat.prompts import Prompts
from chatserver.chat.readers import Readers
from chatserver.chat.recovery import Recovery
from chatserver.chat.rounds import Rounds
from chatserver.chat.runner import Runner
from chatserver.chat.sealing import Vaults
from chatserver.chat.sending import Sending
from chatserver.chat.sent_prompts import SentPrompts
from chatserver.chat.shares import Shares
from chatserver.chat.showing import Showing
from chatserver.chat.speech import Speeches
from chatserver.chat.temporary import Temporaries
from chatserver.chat.titles import Titles
from chatserver.chat.tooling import Tooling
from chatserver.chat.transcripts import Transcripts
from chatserver.chat.wakes import Wakes
from chatserver.clock import keep_after, new_id
from chatserver.domain.access import Actor
from chatserver.domain.buses import Bus
from chatserver.domain.events import AccountErased, CallEnded, FeedbackGiven, TurnEnded
from chatserver.domain.extend import BlobStore, Egress, Migration
from chatserver.domain.house_settings import SettingLine
from chatserver.domain.models import Channel, Model
from chatserver.gateway.catalog import Catalog
from chatserver.gateway.egress import EgressClient
from chatserver.plugins import Plugins, Press
from chatserver.store import audit as audit_rows
from chatserver.store import calls as call_rows
from chatserver.store import messages as message_rows
from chatserver.store import search
from chatserver.store.database import Database
from chatserver.store.schema import CORE
from chatserver.work.jobs import Jobs
from chatserver.work.pump import Pump

log = structlog.get_logger("chatserver.house")

FIRST_MODELS_S = 3.0
"""How long a start waits for upstreams to tell their models: a page without models helps nobody."""


def migration_sets(engine: str, plugins: Plugins) -> list[tuple[str, list[Migration]]]:
    """Every schema of this house, the core's first."""
    return [
        ("core", CORE),
        ("search", search.migrations(engine)),
        ("audit", audit_rows.guards(engine)),
        *plugins.migrations(),
    ]


class House:
    """All parts of one node.

    limits: by name, 0 means none. public_url: '' on loopback. grace_s: how long running turns get at the end.
    bus: how the nodes of a shared database wake each other; without one they look by themselves, more often.
    blob_store: where the content of files lies. spool: a folder of this machine for what is on its way there.
    settings: every one as the operator told it. knobs: of those outside the house, what changes them while it runs.
    """

    def __init__(
        self,
        *,
        db: Database,
        plugins: Plugins,
        http: Egress,
        channels: Iterable[Channel],
        limits: Mapping[str, int],
        secret_key: bytes,
        public_url: str = "",
        trusted_proxies: tuple[str, ...] = (),
        grace_s: float = 30.0,
        bus: Bus | None = None,
        blob_store: BlobStore,
        spool: Path,
        settings: Sequence[SettingLine] = (),
        knobs: Mapping[str, Callable[[str], None]] | None = None,
    ) -> None:
        self.db = db
        self.plugins = plugins
        self.http = http
        self.limits = dict(limits)
        self.secret_key = secret_key
        self.public_url = public_url
        self.trusted_proxies = trusted_proxies
        self.grace_s = grace_s
        self.node_id = new_id()
        providers = {provider.name: provider for _, provider in plugins.registered("register_providers")}
        self.catalog = Catalog(providers, channels, http)
        self.press = Press()
        self.notices = Notices(db)
        self.meters = Meters(plugins)
        self.live = Live()
        self.estimates = Estimates()
        self.recovery = Recovery(db, self.live, self.node_id, self.meters, lock_proves_death=not db.is_shared)
        self.wakes = Wakes(bus, lambda: self.flusher.look_soon())
        self.readers = Readers(db, self.live, self.recovery, self.wakes)
        self.blobs = Blobs(db, blob_store, spool)
        self.files = Files(db, self.blobs, self.limits)
        self.prompts = Prompts(db, plugins, self.estimates, Showing(self.files))
        self.calling = Calling(db, plugins, self.catalog, http)
        self.asides = Asides(db, self.calling, self.meters, self.node_id)
        self.permissions = Permissions(plugins)
        self.audit = Audit(db, self.permissions)
        self.settings = HouseSettings(
            db,
            plugins,
            self.permissions,
            told=settings,
            limits=self.limits,
            knobs={"grace_s": self._set_grace, **(knobs or {})},
        )
        self.directs = Directs(
            db,
            self.calling,
            self.catalog,
            self.meters,
            self.permissions,
            self.node_id,
            wake=lambda: self.pump.wake(CallEnded),
            still_valid=lambda actors: self.accounts.still_valid(actors),
        )
        self.speeches = Speeches(
            db,
            plugins,
            self.calling,
            self.meters,
            self.permissions,
            self.node_id,
            wake=lambda: self.pump.wake(CallEnded),
            watched=self.directs.watched,
        )
        self.probes = Probes(self.catalog, self.asides)
        self.titles = Titles(db, self.asides)
        self.jobs = Jobs(db, self.node_id, plugins)
        self.pump = Pump(db, plugins)
        self.consents = Consents(db, self.wakes)
        self.tooling = Tooling(plugins, self.consents)
        rounds = partial(Rounds, db, self.calling, self.estimates, self.tooling, self.meters)
        ended = self._turn_ended
        self.runner = Runner(db, self.live, self.prompts, rounds, self.titles, ended, self.wakes, self.meters)
        self.drafts = Drafts(
            db,
            self.calling,
            self.runner,
            self.prompts,
            node_id=self.node_id,
            limits=self.limits,
            running=lambda: len(self.live),
        )
        self.sending = Sending(db, plugins, self.catalog, self.drafts)
        self.comparisons = Comparisons(db, self.recovery)
        self.conversations = Conversations(db, self.readers, self.runner, self.recovery, self.wakes)
        self.branches = Branches(db)
        self.filing = Filing(db, self.conversations)
        self.flusher = Flusher(db, self.live, self.runner, self.node_id, self.wakes)
        self.accounts = Accounts(db, plugins, secret_key)
        self.temporaries = Temporaries(db, self.conversations)
        self.transcripts = Transcripts(db)
        self.own_exports = OwnExports(db, self.blobs)
        importers = [one for _, one in plugins.registered("register_importers")]
        self.bringing = Bringing(db, self.files, self.blobs.spool, importers)
        self.leaving = Leaving(db, self.accounts, self.conversations, self._account_left)
        self.shares = Shares(db, self.accounts, self.files)
        self.feedback = FeedbackBox(db, lambda: self.pump.wake(FeedbackGiven))
        self.sent_prompts = SentPrompts(db)
        self.channels = Channels(db, plugins, self.catalog, self.asides, self.permissions, secret_key)
        self.overviews = Overviews(db, self.permissions)
        self.console = Console(db, self.channels, self.catalog, self.asides, self.permissions)
        self.gauges = Gauges(
            self.meters,
            db,
            turns_running=lambda: len(self.live),
            is_draining=lambda: self.is_draining,
            egress=http.outcomes if isinstance(http, EgressClient) else list,
            folder=spool,
        )

    @property
    def is_draining(self) -> bool:
        return self.drafts.is_draining

    def _set_grace(self, text: str) -> None:
        self.grace_s = float(text)

    def _turn_ended(self, wants_title: bool) -> None:
        self.pump.wake(TurnEnded, CallEnded)
        if wants_title:
            self.jobs.wake()

    def _account_left(self, is_erased: bool) -> None:
        if is_erased:
            self.pump.wake(AccountErased)
        else:
            self.jobs.wake()

    async def start(self) -> None:
        """Everything a request needs, in order; the first may come when this returns. The schema is up to date."""
        keep_after(await self.db.read(message_rows.newest_id))
        self.estimates.load(await self.db.read(call_rows.model_factors))
        self.plugins.board = self.notices.core
        await self.recovery.start()
        await self.blobs.start()
        await self.settings.load()
        await self.plugins.start(
            db=self.db,
            http=self.http,
            jobs=self.jobs,
            blobs=self.blobs,
            files=self.files,
            accounts=self.accounts,
            conversations=self.conversations,
            pages=self.press,
            notices=self.notices,
            metrics=self.meters,
            probes=self.probes,
            calls=self.directs,
            speech=self.speeches,
            vaults=Vaults(self.secret_key),
            audit=self.audit,
        )
        await self.catalog.start()
        await self.channels.start()
        self.flusher.start()
        self.directs.start()
        self.jobs.add(
            [
                ("", self.titles.job()),
                ("", self.temporaries.job()),
                ("", self.leaving.job()),
                ("", self.files.job()),
                ("", DiskWatch(self.notices.core, self.blobs.spool).job()),
                ("", Housekeeping(self.db, lambda: self.plugins.has("handle_event")).job()),
            ]
        )
        self.jobs.add(self.plugins.registered("register_jobs"))
        await self.settings.start()
        await self.jobs.start()
        self.pump.start()
        await self.catalog.ready(FIRST_MODELS_S)

    @property
    def unfinished(self) -> int:
        """What a polite end waits for: turns that run here or are about to, and calls of programs."""
        return len(self.drafts) + len(self.live) + len(self.directs)

    def drain(self) -> None:
        """From now on no new turn starts here; those that run go on."""
        self.drafts.is_draining = True
        self.directs.is_draining = True

    async def stop(self) -> None:
        """End what still runs as interrupted, with its text; then stop the parts. The database is the caller's."""
        self.drain()
        await self.runner.interrupt_all()
        await self.directs.stop()
        await self.speeches.stop()
        await self.flusher.stop()
        await self.jobs.stop()
        await self.pump.stop()
        await self.settings.stop()
        await self.channels.stop()
        await self.catalog.stop()
        await self.recovery.stop()
        await self.plugins.stop()
        await self.notices.core.settle()

    def takes_field(self, name: str) -> bool:
        """Whether a plugin of this name is told what a sender hands to it."""
        return any(self.plugins.implements(name, hook) for hook in ("prepare_send", "prepare_prompt"))

    def models(self, actor: Actor) -> list[Model]:
        """What the actor may pick, demo models last."""
        return self.catalog.models(actor.account.groups)

    def model_problem(self) -> str:
        """Why there may be no model, in a sentence, for the person who runs the server; '' when all is well."""
        return next((report.problem for report in self.catalog.reports() if report.problem), "")
