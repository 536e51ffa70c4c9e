"""What admins set in the console for the whole house, and follow-up on every node within seconds: settings that may
change while the server runs, and the switches of plugins."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from chatserver.chat.audit import entry_by, write_noted
from chatserver.chat.permissions import Permissions
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.house_settings import SettingLine
from chatserver.errors import BadInput, ChatserverError, Conflict, NotFound
from chatserver.plugins import Plugins
from chatserver.store import house_settings as rows
from chatserver.store.database import Database, Tx
from chatserver.store.house_settings import PluginSwitch

log = structlog.get_logger("chatserver.settings")

LOOK_EVERY_S = 2.0
"""How often a node looks what another has set; a change holds everywhere within five seconds."""
PERMISSION = "admin.console"
TEXT_LIMIT = 4_000
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
LIMIT = "limits."
PLUGIN = "plugins."


class HouseSettings:
    """told: every setting as the operator told it, of the core and of plugins. limits: those in use, changed in place.

    knobs: what else of the core may change, by name: given the text, it holds from then on.
    """

    def __init__(
        self,
        db: Database,
        plugins: Plugins,
        permissions: Permissions,
        *,
        told: Sequence[SettingLine],
        limits: dict[str, int],
        knobs: Mapping[str, Callable[[str], None]],
    ) -> None:
        self._db = db
        self._plugins = plugins
        self._permissions = permissions
        self._limits = limits
        self._knobs = knobs
        self._told = {one.name: one for one in told}
        self._at_start = {one.name: self._in_use(one) for one in told if one.is_live}
        self._kept: dict[str, str] = {}
        self._followed: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Before plugins start, so that they start with what was set here."""
        self._apply(await self._db.read(rows.kept_settings))

    async def start(self) -> None:
        """After plugins have started: one that is switched off is silent, and can be switched on again."""
        await self.look()
        self._task = asyncio.create_task(self._watch(), name="house settings")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def lines(self, actor: Actor) -> list[SettingLine]:
        """Every setting as it stands on this node. Raises Refused."""
        await self._permissions.require(actor, PERMISSION)
        return [self._line(one) for one in self._told.values()]

    async def change(self, actor: Actor, name: str, text: str) -> SettingLine:
        """Raises NotFound, Conflict `locked`, and BadInput with what the setting wants."""
        await self._permissions.require(actor, PERMISSION)
        line = self._changeable(name)
        value = checked(line, text)
        entry = entry_by(actor, "setting_changed", name, was=self._in_use(line), to=value)

        def write(tx: Tx) -> bool:
            rows.put_setting(tx, name, value, now_us())
            return True

        await write_noted(self._db, write, entry)
        await self.look()
        return self._line(line)

    async def reset(self, actor: Actor, name: str) -> SettingLine:
        """Back to the default. Raises NotFound, Conflict `locked`."""
        await self._permissions.require(actor, PERMISSION)
        line = self._changeable(name)
        entry = entry_by(actor, "setting_reset", name, was=self._in_use(line), to=self._at_start[name])
        await write_noted(self._db, lambda tx: rows.remove_setting(tx, name), entry)
        await self.look()
        return self._line(line)

    async def switch(self, actor: Actor, plugin: str, is_on: bool) -> None:
        """Silence a plugin or let it speak again, on every node and after a restart. Raises NotFound, and Conflict for
        one that was not loaded."""
        await self._permissions.require(actor, PERMISSION)
        self._plugins.check_switch(plugin)
        ways_in = {name for name, _ in self._plugins.registered("register_auth_backends")}
        if not is_on and ways_in == {plugin}:
            raise Conflict(
                "Without %(plugin)s nobody could sign in. Switch another way to sign in on first.",
                code="last_way_in",
                values={"plugin": plugin},
            )
        switch = PluginSwitch(plugin, is_on, now_us())

        def write(tx: Tx) -> bool:
            rows.put_switch(tx, switch)
            return True

        await write_noted(self._db, write, entry_by(actor, "plugin_switched", plugin, to="on" if is_on else "off"))
        await self.look()

    async def look(self) -> None:
        """Take over what was set, here or elsewhere."""
        kept, switches = await self._db.read(lambda tx: (rows.kept_settings(tx), rows.plugin_switches(tx)))
        self._apply(kept)
        for one in switches:
            self._follow(one)

    def _follow(self, switch: PluginSwitch) -> None:
        """Each press once: what this node has set aside since then stays aside."""
        if self._followed.get(switch.name) == switch.changed_at:
            return
        self._followed[switch.name] = switch.changed_at
        try:
            self._plugins.switch(switch.name, switch.is_on)
        except (NotFound, Conflict):  # it is not installed here, or the file says no
            log.info("plugin_not_switched", plugin=switch.name)

    def _apply(self, kept: Sequence[rows.KeptSetting]) -> None:
        wanted = {one.name: one.value for one in kept if self._may_change(one.name)}
        for name in {*wanted, *self._kept}:
            text = wanted.get(name, self._at_start[name])
            if wanted.get(name) != self._kept.get(name):
                try:
                    self._set(name, checked(self._told[name], text) if name in wanted else text)
                except (ChatserverError, ValueError) as error:  # another version took it; ours keeps what it has
                    log.warning("setting_not_taken", setting=name, reason=error)
        self._kept = wanted

    def _set(self, name: str, text: str) -> None:
        if name.startswith(LIMIT):
            self._limits[name.removeprefix(LIMIT)] = int(text)
        elif name.startswith(PLUGIN):
            _, plugin, setting = name.split(".", 2)
            self._plugins.set_text(plugin, setting, text)
        else:
            self._knobs[name](text)

    def _in_use(self, line: SettingLine) -> str:
        if line.name.startswith(LIMIT):
            return str(self._limits.get(line.name.removeprefix(LIMIT), line.value))
        if line.plugin and line.is_live:
            value = self._plugins.settings_of(line.plugin)[line.name.split(".", 2)[2]]
            return ("true" if value else "false") if isinstance(value, bool) else str(value)
        return line.value

    def _line(self, told: SettingLine) -> SettingLine:
        if told.name in self._kept:
            return msgspec.structs.replace(told, value=self._kept[told.name], source="console", is_set=True)
        return msgspec.structs.replace(told, value=self._in_use(told)) if told.is_live else told

    def _may_change(self, name: str) -> bool:
        line = self._told.get(name)
        return line is not None and line.is_live and not line.is_locked

    def _changeable(self, name: str) -> SettingLine:
        line = self._told.get(name)
        if line is None:
            raise NotFound
        if line.is_locked:
            raise Conflict(
                "%(where)s says what %(name)s is. Change it there and restart.",
                code="locked",
                values={"where": line.where or "The command line", "name": name},
            )
        if not line.is_live:
            raise Conflict(
                "%(name)s holds from a start on. Say it in the configuration and restart.",
                code="needs_restart",
                values={"name": name},
            )
        return line

    async def _watch(self) -> None:
        problem = ""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
                problem = ""
            except ChatserverError as error:  # the database is away; what is known still holds
                if error.message != problem:
                    log.warning("settings_not_read", problem=error.message)
                problem = error.message


def checked(line: SettingLine, text: str) -> str:
    """The text as it is kept. Raises BadInput with what the setting wants."""
    text = text.strip()
    if line.kind == "number":
        return _number(line, text)
    if line.kind == "boolean":
        if text.lower() not in (*YES, *NO):
            raise BadInput(
                "%(name)s is true or false, and not %(text)s.",
                code="bad_setting",
                status=422,
                values={"name": line.name, "text": text[:60]},
            )
        return "true" if text.lower() in YES else "false"
    if line.choices and text not in line.choices:
        raise BadInput(
            "%(name)s is one of %(choices)s, and not %(text)s.",
            code="bad_setting",
            status=422,
            values={"name": line.name, "choices": ", ".join(line.choices), "text": text[:60]},
        )
    if len(text) > TEXT_LIMIT or any(not character.isprintable() and character != "\n" for character in text):
        raise BadInput(
            "%(name)s is one text of at most 4,000 characters.",
            code="bad_setting",
            status=422,
            values={"name": line.name},
        )
    return text


def _number(line: SettingLine, text: str) -> str:
    is_whole = line.name.startswith(LIMIT)
    try:
        number = int(text) if is_whole else float(text)
        is_good = (line.least is None or number >= line.least) and (line.most is None or number <= line.most)
    except (ValueError, OverflowError):
        is_good = False
    if is_good and math.isfinite(number) and text.isascii() and "_" not in text:
        return f"{number:g}" if abs(number) < 1e6 else str(int(number))
    least = "0" if line.least is None else f"{line.least:g}"
    most = f"{line.most:g}" if line.most is not None else ""
    values = {"name": line.name, "text": text[:60] or "“”", "least": least, "most": most}
    if is_whole:
        raise BadInput(
            "%(name)s is a whole number from 0, which means no limit, to 1,000,000,000, and not %(text)s.",
            code="bad_setting",
            status=422,
            values=values,
        )
    if most:
        raise BadInput(
            "%(name)s is a number from %(least)s to %(most)s, and not %(text)s.",
            code="bad_setting",
            status=422,
            values=values,
        )
    raise BadInput(
        "%(name)s is a number, at least %(least)s, and not %(text)s.", code="bad_setting", status=422, values=values
    )
