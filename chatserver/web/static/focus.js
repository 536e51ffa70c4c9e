// Where the focus goes when a dialog closes and what opened it is gone: to what leads there again, else to the message box.

import { $, isTouch } from "./page.js"

let pressed = null
let way = null // the button of the menu it was pressed in

document.addEventListener("click", ({ target }) => {
  if (target.closest?.("dialog")) return
  pressed = target.closest?.("button, a, summary")
  way = $("summary, [aria-expanded]", target.closest?.(".menu-list")?.parentElement ?? document.createElement("i"))
}, true)

document.addEventListener("close", ({ target }) => {
  if (target.id === "dialog") setTimeout(regain)
}, true)

function regain() {
  for (const one of [pressed, way, isTouch.matches ? null : $("#text")]) {
    if (document.activeElement !== document.body) return
    one?.focus() // does nothing where it is hidden or gone
  }
}
