// A chat that is renamed in place.

import { $, notice, retitle } from "./app.js"
import { change } from "./folders.js"

// Enter keeps what the box holds, Esc and an unchanged text leave the title as it was
export function rename(id, { box, place, before, last }) {
  let isDone = !box.isConnected // left before this was here
  const finish = (keeps) => {
    if (isDone) return
    isDone = true
    const after = box.value.trim()
    place.textContent = keeps && after ? after : before
    if (!keeps || !after || after === before) return
    change(id, { title: after }).then(() => retitle(id, after), (error) => { place.textContent = before; notice(error.message) })
  }
  box.onkeydown = (event) => {
    event.stopPropagation()
    if (event.key === "Enter" && !event.isComposing) finish(true)
    else if (event.key === "Escape") finish(false)
    if (!isDone) return
    event.preventDefault() // or what gets the focus is pressed by the same key
    ;(last.isConnected && last !== document.body ? last : $("#text"))?.focus()
  }
  box.onblur = () => finish(true)
  for (const kind of ["click", "dblclick", "mousedown"]) box.addEventListener(kind, (event) => { event.stopPropagation(); if (kind === "click") event.preventDefault() })
  if (box.early) box.onkeydown(box.early) // pressed before this was here
}
