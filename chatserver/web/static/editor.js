// A message that is edited in its place.

import { $, $$ } from "./page.js"
import { grow } from "./composer.js"

export function startEditor(slot) {
  const area = $("textarea", slot)
  area.focus()
  area.setSelectionRange(area.value.length, area.value.length)
  grow(area)
  area.closest("article").scrollIntoView({ block: "nearest" })
}

export function closeEditor(editor) {
  const article = editor.closest("article")
  editor.remove()
  $$("button", article).find((button) => button.getAttribute("formaction")?.endsWith("/edit"))?.focus()
}
