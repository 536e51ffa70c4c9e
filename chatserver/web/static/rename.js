// A chat that is renamed in place.

import { $, notice, retitle } from "./app.js"
import { change } from "./folders.js"

// a textbox in place of the title: Enter keeps, Esc and an unchanged text leave it as it was
export function rename(id, where = $("[data-title]")) {
  if (!id || !where || $("[data-renaming]")) return
  const place = where.matches("[data-line]") ? $("span", where) : where
  const before = place.textContent
  const last = document.activeElement
  const box = Object.assign(document.createElement("input"), { value: before, maxLength: 200, className: "rename" })
  box.dataset.renaming = ""
  box.setAttribute("aria-label", where.closest(".head")?.dataset.rename || before)
  place.replaceChildren(box)
  box.select()
  box.focus()
  let isDone = false
  const finish = (keeps) => {
    if (isDone) return
    isDone = true
    const after = box.value.trim()
    place.textContent = keeps && after ? after : before
    if (!keeps || !after || after === before) return
    change(id, { title: after }).then(() => retitle(id, after), (error) => { place.textContent = before; notice(error.message) })
  }
  box.addEventListener("keydown", (event) => {
    event.stopPropagation()
    if (event.key === "Enter" && !event.isComposing) finish(true)
    else if (event.key === "Escape") finish(false)
    if (!isDone) return
    event.preventDefault() // or what gets the focus is pressed by the same key
    ;(last.isConnected && last !== document.body ? last : $("#text"))?.focus()
  })
  box.addEventListener("blur", () => finish(true))
  for (const kind of ["click", "dblclick", "mousedown"]) box.addEventListener(kind, (event) => { event.stopPropagation(); if (kind === "click") event.preventDefault() })
}
