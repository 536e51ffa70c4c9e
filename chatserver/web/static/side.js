// The side with the chats: folded away on a desk, a drawer on a phone.

import { $, $$, narrow, post, root } from "./page.js"

export function toggleSide(open = narrow.matches ? root.dataset.drawer !== "open" : root.dataset.side === "closed") {
  const button = $("#open-side")
  button?.setAttribute("aria-expanded", open)
  if (narrow.matches) {
    if (open) root.dataset.drawer = "open"
    else delete root.dataset.drawer
    $("#veil").hidden = !open
    for (const element of $$("#main, .skip")) element.inert = open
    open ? $("#close-side").focus() : button?.focus()
  } else {
    if (open) delete root.dataset.side
    else root.dataset.side = "closed"
    open ? $("#close-side").focus() : button?.focus()
    post("/settings/look", { side: open ? "open" : "closed" }).catch(() => {})
  }
}

export const closeDrawer = () => { if (root.dataset.drawer === "open") toggleSide(false) }
narrow.addEventListener("change", () => { if (!narrow.matches && root.dataset.drawer) { delete root.dataset.drawer; $("#veil").hidden = true; for (const element of $$("#main, .skip")) element.inert = false } })
