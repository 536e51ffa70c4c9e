// A title that becomes a box. The box is there at once, so that what is typed before its module came goes into it.

import { $, conversation } from "./page.js"
import { enter } from "./rooms.js"

export function beginRename(where = $("[data-title]")) {
  const id = where?.dataset.line ?? conversation()
  if (!id || !where || $("[data-renaming]")) return
  const place = $("span", where) ?? where
  const before = place.textContent
  const last = document.activeElement
  const box = Object.assign(document.createElement("input"), { value: before, maxLength: 200, className: "rename", ariaLabel: before })
  box.dataset.renaming = ""
  box.onkeydown = (event) => { event.stopPropagation(); if (/^E(nt|sc)/.test(event.key)) box.early = event }
  box.onblur = () => { place.textContent = before }
  place.replaceChildren(box)
  box.select()
  box.focus()
  enter("rename", "rename", id, { box, place, before, last })
}
