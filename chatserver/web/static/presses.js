// What a press does, wherever on the page.

import { $, $$ } from "./page.js"
import { store } from "./store.js"
import { copy, textAt } from "./clipboard.js"
import { closeEditor } from "./editor.js"
import { draftKey, stop } from "./composer.js"
import { follow, hold, loadOlder } from "./view.js"
import { choose, closeModels, openModels } from "./models.js"
import { mark, newChat } from "./chats.js"
import { toggleSide } from "./side.js"
import { toText } from "./focus.js"

document.addEventListener("click", (event) => {
  const hit = (selector) => event.target.closest?.(selector)
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0
  let found
  if ((found = hit("[data-copy-code]"))) copy(found, $("code", found.closest("figure")).textContent)
  else if ((found = hit("[data-copy]"))) copy(found, textAt(found.dataset.copy))
  else if ((found = hit("[data-cancel]"))) { event.preventDefault(); closeEditor(found.closest(".editor")) }
  else if ((found = hit("[data-close]")) && $("#dialog").contains(found)) { event.preventDefault(); $("#dialog").close() }
  else if ((found = hit("[data-dismiss]"))) found.closest(".note").remove()
  else if ((found = hit("[data-idea]"))) { $("#text").value = found.textContent.trim(); store.set(draftKey(), $("#text").value); $("#text").focus() }
  else if ((found = hit("#stop"))) { event.preventDefault(); stop() }
  else if (hit("#jump")) { follow(true); toText() }
  else if (hit("#older")) { event.preventDefault(); loadOlder(hit("#older")) }
  else if (hit("#pick")) $("#models").hidden ? openModels() : closeModels()
  else if ((found = hit("#models [role=option]"))) choose(Number(found.id.slice(6)))
  else if ((found = hit("[data-version], [data-goes]"))) hold(found.closest("article"), plain)
  else if ((found = hit("[data-new]")) && plain && $("#composer")) { event.preventDefault(); newChat() }
  else if (hit("#open-side") || hit("#close-side") || hit("#veil")) toggleSide()
  else if ((found = hit("[data-line]")) && plain) mark(found.dataset.line)
  if (!hit("#pick") && !hit(".models")) closeModels(false)
  for (const menu of $$("[data-menu][open]")) if (!menu.contains(event.target) || hit(".menu-list button")) menu.open = false
  if (event.target === $("#dialog")) $("#dialog").close()
})
