// A temporary chat: tells the server that its page is open, and that it was left; leaves no draft behind.

import { csrf, store } from "./app.js"

const AGAIN_MS = 5 * 60_000
const LOOK_MS = 2000
let current = ""

const tell = (id, what) =>
  fetch(`/c/${id}/${what}`, { method: "POST", keepalive: true, headers: { "X-CSRF": csrf(), "HX-Request": "true" } }).catch(() => {})

function leave() {
  if (!current) return
  tell(current, "closed")
  for (const what of ["draft", "files"]) store.set(`${what}:${current}`, "")
  current = ""
}

export function begin(mark) {
  const id = mark.dataset.conversation
  if (id === current) return
  leave()
  current = id
  tell(id, "opened")
}

setInterval(() => {
  if (current && document.querySelector("#temporary")?.dataset.conversation !== current) leave()
}, LOOK_MS)
setInterval(() => { if (current) tell(current, "opened") }, AGAIN_MS)
addEventListener("pagehide", leave)
addEventListener("pageshow", (event) => {
  const mark = document.querySelector("#temporary[data-conversation]")
  if (event.persisted && mark) begin(mark)
})
