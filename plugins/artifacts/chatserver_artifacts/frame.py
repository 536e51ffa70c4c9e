"""Where an artifact runs: a document of its own without an origin, without a network, and without a way to the page.

The policy is in the answer's own header, whoever frames it; the element that frames it is sandboxed besides.
"""

from __future__ import annotations

import gzip
import html
from functools import cache
from pathlib import Path

import msgspec

from chatserver import Actor, ApiAnswer, ApiVisit, ChatserverError, Context, NotFound, Refused, Route, SetupError
from chatserver_artifacts.shelf import Artifact, Shelf, Version

LIVES_US = 5 * 60 * 1_000_000
PLACE = "frame"
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; media-src data: blob:;"
    " form-action 'none'; base-uri 'none'; frame-src 'none'; child-src 'none'; worker-src 'none';"
    " connect-src 'none'; object-src 'none'; frame-ancestors {app}"
)
RUNNING = "sandbox allow-scripts; script-src 'unsafe-inline'; " + _POLICY
GUARDED = RUNNING + "; require-trusted-types-for 'script'; trusted-types default"
STILL = "sandbox; script-src 'none'; " + _POLICY
SHUT = {
    # Chromium opens no connection at all from such a document: what no policy of content reaches, WebRTC among it.
    "connection-allowlist": "()",
    "x-dns-prefetch-control": "off",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), hid=()",
}
GUARD = """<script>
const gone = ["RTCPeerConnection", "webkitRTCPeerConnection", "RTCDataChannel", "RTCSessionDescription",
  "RTCIceCandidate", "WebTransport", "DOMParser", "open"]
for (const name of gone) {
  try { Object.defineProperty(window, name, { value: undefined, configurable: false, writable: false }) } catch {}
}
if (window.trustedTypes) {
  const refused = /<\\s*(iframe|frame|frameset|object|embed|fencedframe|portal|base|meta|link)\\b|srcdoc/i
  trustedTypes.createPolicy("default", {
    createHTML: (text) => { if (refused.test(text)) throw new TypeError("frames are not made here"); return text },
    createScript: (text) => text,
    createScriptURL: () => { throw new TypeError("scripts are not fetched here") },
  })
}
document.currentScript.remove()
</script>"""
_encode = msgspec.json.Encoder().encode


class Ticket(msgspec.Struct, frozen=True):
    """What one may look at, who, and until when. is_still: without its scripts."""

    account_id: str
    conversation_id: str
    tip_id: str
    artifact_id: str
    version: int
    until_us: int
    is_still: bool = False


class Frame:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    def routes(self) -> list[Route]:
        return [Route("/frame/{ticket}", api=self.serve)]

    def address(
        self,
        actor: Actor,
        conversation_id: str,
        tip_id: str,
        artifact: Artifact,
        version: Version,
        *,
        is_still: bool = False,
    ) -> str:
        """Good for five minutes, and for this account alone."""
        until = self._ctx.clock.now_us() + LIVES_US
        ticket = Ticket(actor.account_id, conversation_id, tip_id, artifact.id, version.number, until, is_still)
        return f"/x/artifacts/frame/{self._ctx.vault.seal(_encode(ticket).decode(), PLACE)}"

    async def serve(self, visit: ApiVisit) -> ApiAnswer:
        if visit.headers.get("sec-fetch-dest") != "iframe":
            raise Refused("An artifact is shown in its frame beside the chat, and nowhere else.", code="not_framed")
        ticket = self._open(visit.path["ticket"])
        if ticket is None or ticket.account_id != visit.actor.account_id:
            raise NotFound
        if ticket.until_us < self._ctx.clock.now_us():
            raise ChatserverError("This frame is too old. Press Run again.", code="expired", status=410)
        artifact = await self._shelf.one(visit.actor, ticket.conversation_id, ticket.tip_id or None, ticket.artifact_id)
        if not 1 <= ticket.version <= len(artifact.versions):
            raise NotFound
        body, policy = document(artifact, artifact.versions[ticket.version - 1], is_still=ticket.is_still)
        headers = {"content-security-policy": policy.format(app=visit.origin), **SHUT}
        return ApiAnswer(body=body, media_type="text/html; charset=utf-8", headers=headers)

    def _open(self, sealed: str) -> Ticket | None:
        try:
            return msgspec.json.decode(self._ctx.vault.open(sealed, PLACE), type=Ticket)
        except (SetupError, msgspec.MsgspecError, UnicodeError):
            return None


def document(artifact: Artifact, version: Version, *, is_still: bool = False) -> tuple[bytes, str]:
    """What stands in the frame, and the policy it stands under. is_still: no script of its own runs."""
    text = version.text
    if artifact.kind == "mermaid":
        return "".join((_DIAGRAM[0], html.escape(text), _DIAGRAM[1], _mermaid(), _DIAGRAM[2])).encode(), RUNNING
    if is_still:
        return text.encode(), STILL
    return (GUARD + text).encode() if not _begins_as_page(text) else _within_head(text).encode(), GUARDED


def _begins_as_page(text: str) -> bool:
    return text.lstrip()[:15].lower().startswith("<!doctype")


def _within_head(text: str) -> str:
    """Behind the doctype: before it the page would be drawn by older rules."""
    end = text.find(">") + 1
    return text[:end] + GUARD + text[end:]


@cache
def _mermaid() -> str:
    """Packed where it lies, because a whole box weighs 130 MB at most."""
    code = gzip.decompress((Path(__file__).parent / "vendor" / "mermaid.min.js.gz").read_bytes()).decode()
    return code.replace("</script", "<\\/script")


_DIAGRAM = (
    """<!doctype html><meta charset="utf-8"><title>Diagram</title>
<style>html{color-scheme:light dark;font-family:system-ui,sans-serif}body{margin:1rem;display:grid;place-items:center}
pre{max-width:100%;white-space:pre-wrap}.bad{color:#b42318}</style>
<pre class="mermaid">""",
    """</pre>
<script>""",
    """</script>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)").matches
mermaid.initialize({ startOnLoad: false, securityLevel: "strict", theme: dark ? "dark" : "neutral" })
mermaid.run().catch((error) => {
  const told = document.querySelector("pre")
  told.className = "bad"
  told.textContent = String(error.message || error)
})
</script>""",
)
"""What stands around the text and the library."""
