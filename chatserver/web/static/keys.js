// What the keys do.

import { $, isTouch, root, words } from "./page.js"
import { slashing, stop } from "./composer.js"
import { closeEditor } from "./editor.js"
import { modelKey, openModels } from "./models.js"
import { refreshChats } from "./chats.js"
import { toggleSide } from "./side.js"
import { does } from "./commands.js"

document.addEventListener("keydown", (event) => {
  const { key, target } = event
  const command = event.ctrlKey || event.metaKey
  if (event.isComposing || event.keyCode === 229) return
  if (target.id === "models") return modelKey(event)
  if (target.id === "pick" && (key === "ArrowDown" || key === "ArrowUp")) { event.preventDefault(); return openModels() }
  const sends = root.dataset.send === "ctrl_enter" || isTouch.matches ? command : true
  if (target.id === "text" && key === "Enter" && !event.shiftKey && !event.altKey && sends) {
    event.preventDefault()
    if (!$("#send").hidden && !slashing && (target.value.trim() || !target.required)) target.form.requestSubmit($("#send"))
    return
  }
  const editor = target.closest?.(".editor")
  if (editor && key === "Enter" && command) { event.preventDefault(); return editor.requestSubmit() }
  if (editor && key === "Escape") { event.preventDefault(); return closeEditor(editor) }
  const named = bound[chord(event)]
  if (named && (named !== "shortcuts" && named !== "rename" || !target.closest?.("input, textarea, select"))) {
    if ((named === "previous" || named === "next") && target.value) return // moves by words in there
    event.preventDefault()
    return does(named)
  }
  const menu = $("[data-menu][open]")
  if (key === "Escape" && menu) { menu.open = false; return $("summary", menu).focus() }
  if (key === "Escape" && !$("#dialog")?.open) {
    if (root.dataset.drawer === "open") return toggleSide(false)
    if (target.id === "find") { if (target.value) { target.value = ""; refreshChats() } else $("#text")?.focus(); return }
    return stop()
  }
})

// what the one list of commands calls a key
const bound = JSON.parse(words.keys)
const chord = ({ key, code, altKey, ctrlKey, metaKey, shiftKey }) => {
  const name = /^Key[A-Z]$/.test(code) ? code[3] : key
  const mod = ctrlKey || metaKey
  return [mod && "mod", altKey && "alt", shiftKey && mod && "shift", name.toLowerCase()].filter(Boolean).join("+")
}
