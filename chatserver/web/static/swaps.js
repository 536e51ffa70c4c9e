// What happens around a request of htmx, and once what it brought is in the page.

import { $, $$, conversation, words } from "./page.js"
import { notice, say } from "./notices.js"
import { retitle, running } from "./stream.js"
import { keepLane } from "./lanes.js"
import { follow, letGo, reach, settleView, switched } from "./view.js"
import { accepted, begin, compose, refused, sending, startComposer } from "./composer.js"
import { startEditor } from "./editor.js"
import { mark, refreshChats } from "./chats.js"
import { closeDrawer } from "./side.js"
import { beginRooms } from "./rooms.js"
import { toText } from "./focus.js"

const of = (event) => event.detail.ctx ?? {}
const from = (event, id) => of(event).sourceElement?.id === id

document.addEventListener("htmx:before:request", (event) => {
  const { request, sourceElement } = of(event)
  if (sourceElement?.id === "find" && !sourceElement.value.trim()) { event.preventDefault(); return refreshChats() }
  if (sourceElement?.id !== "composer") return
  if ($("#files > [aria-busy]")) {
    $("#files").dataset.send = "yes"
    say($("#files").dataset.wait)
    return event.preventDefault()
  }
  if (sending || running().length || (!$("#text").value.trim() && $("#text").required)) return event.preventDefault()
  sourceElement.dataset.key ||= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  request.headers["Idempotency-Key"] = sourceElement.dataset.key
  begin(sourceElement)
})

document.addEventListener("htmx:before:swap", (event) => {
  const { sourceElement, response } = of(event)
  if (response?.status < 400 && sourceElement?.id === "composer" && sending) {
    if (conversation() && !$("#find").value) setTimeout(refreshChats) // it moves to the top
    accepted()
  }
})

document.addEventListener("htmx:response:error", (event) => {
  const { response, text = "", sourceElement } = of(event)
  if (sourceElement?.id === "composer") delete sourceElement.dataset.key
  if (response.status === 401) notice(words.signedOut, { href: "/sign-in", action: words.signIn })
  else if (!text.includes("<hx-partial")) {
    let said = ""
    try { said = JSON.parse(text).error.message } catch { /* a page, not ours */ }
    notice(said || words.odd)
  }
  letGo()
})

document.addEventListener("htmx:error", (event) => {
  if (of(event).request) notice(navigator.onLine ? words.unreachable : words.offline)
  letGo()
})

document.addEventListener("htmx:finally:request", (event) => {
  if (from(event, "composer")) refused() // nothing to do once it was accepted
})

document.addEventListener("htmx:before:settle", (event) => {
  const target = event.detail.task?.target
  if (!target) return
  if (target.id === "main") { settleView($("#view")); closeDrawer() }
  else if (target.id === "view") settleView(target)
  else if (target.id === "thread") {
    keepLane()
    follow(true)
  }
})

document.addEventListener("htmx:after:swap", (event) => {
  const at = of(event).target // an answer may name another one than was asked for
  const target = at?.at ? $(at) : at
  beginRooms()
  const main = $("#main")
  if ($("#where")) main.dataset.conversation = conversation()
  if (target?.id === "dialog") {
    const [sheet, open] = [$("#dialog link"), () => $("#dialog").showModal()]
    return sheet && !sheet.sheet ? (sheet.onload = sheet.onerror = open) : open() // not before it is dressed
  }
  if (target?.matches?.("[data-editor]")) return startEditor(target)
  if (target?.id === "chats") {
    const line = $(`[data-line="${conversation()}"] span`)
    return line && retitle(conversation(), line.textContent)
  }
  // what was asked for from the dialog has come; what the page asks for by itself leaves it open
  const isAnswered = of(event).sourceElement?.closest?.("#dialog, .menu") || target?.id === "main"
  if ($("#dialog")?.open && isAnswered) $("#dialog").close()
  for (const toast of $$("#toasts [data-fades]")) setTimeout(() => toast.remove(), 1000 * toast.dataset.fades)
  mark(conversation())
  if (target?.id === "main") {
    startComposer()
    if (!$("[data-renaming]")) toText()
    const id = of(event).request?.anchor
    if (id) reach(id)
  }
  compose()
  if (target?.id === "view" && running().length) say(words.writing)
  if (document.activeElement === document.body) toText() // what was pressed is gone
  if (target?.id === "view") switched()
})
