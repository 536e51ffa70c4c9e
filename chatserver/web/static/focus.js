// Where the focus goes when what had it is gone: to what leads there again, else to the message box.

import { $, isTouch } from "./page.js"

// not on a touch screen, where a keyboard would come up over what one reads
export function toText() {
  if (!isTouch.matches) $("#text")?.focus()
}

let pressed = null
// the button of the menu it was pressed in
let way = null

document.addEventListener("click", ({ target }) => {
  if (target.closest?.("dialog")) return
  pressed = target.closest?.("button, a, summary")
  way = $("summary, [aria-expanded]", target.closest?.(".menu-list")?.parentElement ?? document.createElement("i"))
}, true)

document.addEventListener("close", ({ target }) => {
  if (target.id === "dialog") setTimeout(regain)
}, true)

function regain() {
  if (document.activeElement !== document.body) return
  // does nothing where it is hidden or gone
  pressed?.focus()
  if (document.activeElement === document.body) way?.focus()
  if (document.activeElement === document.body) toText()
}
