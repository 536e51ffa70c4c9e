// What is said aloud, and what is shown above the message box.

import { $ } from "./page.js"

export function say(text) {
  const live = $("#live")
  live.textContent = ""
  requestAnimationFrame(() => { live.textContent = text })
}

export function notice(text, { href = "", action = "", kind = "bad", name = "" } = {}) {
  const box = $("#notices")
  if (!box) return
  const note = document.createElement("div")
  note.className = `note ${kind}`
  note.dataset.name = name
  note.setAttribute("role", "alert")
  const line = document.createElement("p")
  line.textContent = text
  note.append(line)
  if (href) {
    const link = document.createElement("a")
    link.className = "btn small"
    link.href = href
    link.textContent = action
    note.append(link)
  }
  box.replaceChildren(note)
}
