"""Readers without a browser: Streamlit's own messages over a websocket, as its page sends them.

A session asks for the page, lets its live parts refresh as often as the server told it to, and now and
then does something. It asks for one thing at a time; what waits for an earlier answer waits with its clock
running.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

EVERY_S = 10.0
"""Between two things that one person does."""
STATUSES = ("All", "New", "Not read")


@dataclass
class Seen:
    """What all sessions together experienced: seconds of every action by kind, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refreshes: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def actions(self) -> list[float]:
        return sorted(each for kind in self.seconds.values() for each in kind)

    def percentile(self, share: float) -> float:
        """Return the nearest-rank percentile of all actions."""
        times = self.actions
        return times[min(len(times) - 1, int(share * len(times)))]


class Session:
    """One reader on the worklist."""

    def __init__(self, socket: ClientConnection, seen: Seen, rng: random.Random) -> None:
        self.socket, self.seen, self.rng = socket, seen, rng
        self.widgets: dict[str, tuple[str, str]] = {}
        """Label → id of the widget and of the fragment it belongs to."""
        self.every: dict[str, float] = {}
        self.page = ""
        self._turn = asyncio.Lock()
        self._cached: set[str] = set()

    async def ask(self, *states: WidgetState, fragment: str = "", auto: bool = False) -> None:
        """Ask for a run of the page, or of one fragment, and return when it has ended."""
        async with self._turn:
            message = BackMsg()
            asked = message.rerun_script
            asked.page_name, asked.fragment_id, asked.is_auto_rerun = "worklist", fragment, auto
            asked.page_script_hash = self.page
            asked.cached_message_hashes.extend(self._cached)
            asked.widget_states.widgets.extend(states)
            await self.socket.send(message.SerializeToString())
            while not self._ended(await asyncio.wait_for(self.socket.recv(), 120)):
                pass

    def _ended(self, raw: str | bytes) -> bool:
        message = ForwardMsg.FromString(raw)
        if message.metadata.cacheable:
            self._cached.add(message.hash)
        kind = message.WhichOneof("type")
        if kind == "auto_rerun":
            self.every[message.auto_rerun.fragment_id] = message.auto_rerun.interval
        elif kind == "navigation":
            self.page = message.navigation.page_script_hash
        elif kind == "delta":
            self._note(message)
        early = ForwardMsg.ScriptFinishedStatus.Value("FINISHED_EARLY_FOR_RERUN")
        return kind == "script_finished" and message.script_finished != early

    def _note(self, message: ForwardMsg) -> None:
        """Remember widgets by their label, and whatever is shown as an error."""
        delta = message.delta
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind in ("button", "selectbox"):
            widget = getattr(element, kind)
            self.widgets[widget.label] = widget.id, delta.fragment_id
        elif kind == "exception" or (kind == "alert" and element.alert.format == element.alert.ERROR):
            self.seen.errors.append(kind)

    async def act(self, kind: str, began: float) -> None:
        """Do something and note how long it took since `began`."""
        if kind == "next":
            widget, fragment = self.widgets["Next"]
            await self.ask(WidgetState(id=widget, trigger_value=True), fragment=fragment)
        elif kind == "filter":
            widget, fragment = self.widgets["Status"]
            status = self.rng.choice(STATUSES)
            await self.ask(WidgetState(id=widget, string_value=status), fragment=fragment)
        else:
            await self.ask()
        self.seen.seconds.setdefault(kind, []).append(monotonic() - began)

    async def refresh(self, fragment: str, every: float, until: float) -> None:
        """Let a live part refresh as the page would."""
        while monotonic() + every < until:
            await asyncio.sleep(every)
            await self.ask(fragment=fragment, auto=True)
            self.seen.refreshes += 1

    async def live(self, until: float) -> None:
        """Open the page, then read on it until the end."""
        await asyncio.sleep(self.rng.random() * EVERY_S / 2)
        began = monotonic()
        await self.ask()
        self.seen.seconds.setdefault("open", []).append(monotonic() - began)
        async with asyncio.TaskGroup() as together:
            for fragment, every in self.every.items():
                together.create_task(self.refresh(fragment, every, until))
            due = monotonic() + self.rng.random() * EVERY_S
            while due < until:
                await asyncio.sleep(max(0.0, due - monotonic()))
                await self.act(self.rng.choices(("next", "filter", "reload"), (6, 2, 2))[0], due)
                due += EVERY_S


async def read_on(address: str, users: int, seconds: float) -> Seen:
    """Return what so many readers experience in so many seconds on a running server."""
    seen = Seen()
    until = monotonic() + seconds
    await asyncio.gather(*(_reader(address, seen, number, until) for number in range(users)))
    return seen


async def _reader(address: str, seen: Seen, number: int, until: float) -> None:
    stream = address.replace("http", "ws") + "/_stcore/stream"
    try:
        async with connect(stream, subprotocols=["streamlit"], max_size=None, origin=address) as socket:
            await Session(socket, seen, random.Random(number)).live(until)  # noqa: S311 -- when to act
    except Exception as exc:  # noqa: BLE001 -- whatever a reader's browser would show as a broken page
        seen.errors.append(f"{type(exc).__name__}: {exc}")


def told(seen: Seen) -> Iterator[str]:
    """Yield the figures, one line a kind of action."""
    for kind, times in sorted(seen.seconds.items()):
        middle = sorted(times)[len(times) // 2]
        yield f"{kind}: {len(times)} times, median {1e3 * middle:.0f} ms, longest {1e3 * max(times):.0f} ms"
    p95 = 1e3 * seen.percentile(0.95)
    yield f"all: p95 {p95:.0f} ms, {seen.refreshes} refreshes, {len(seen.errors)} errors"
    with suppress(IndexError):
        yield f"first error: {seen.errors[0]}"
