// What leads into a room without a name on it: presses, double presses, folds, drags, picked words.

import { $ } from "./page.js"
import { beginRename } from "./renaming.js"
import { enter, room } from "./rooms.js"

document.addEventListener("click", (event) => {
  const element = event.target.closest("[data-room]")
  if (!element || event.defaultPrevented) return
  event.preventDefault()
  enter(element.dataset.room, "press", element, event)
})

document.addEventListener("dblclick", (event) => {
  const line = event.target.closest("[data-line], [data-title]")
  if (line) beginRename(line)
})
document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("[data-folder]")) room("folders").then((entered) => entered.unfold(event.target))
}, true)
document.addEventListener("dragstart", (event) => {
  if (event.target.matches?.("[data-line]")) room("folders").then((entered) => entered.drag(event.target))
})

// words picked out of a message may be quoted
document.addEventListener("selectionchange", function first() {
  if (getSelection().isCollapsed || !$("#quote")) return
  document.removeEventListener("selectionchange", first)
  room("quote").then((entered) => entered.begin())
})
