// What a search found comes next to the box it was typed in, not after the links that stand between.

import { $ } from "./app.js"

document.addEventListener("keydown", (event) => {
  const { key, target, shiftKey } = event
  const hit = $("#chats .hit")
  const there = target.id === "find" && (key === "ArrowDown" || (key === "Tab" && !shiftKey))
  const back = hit && target === hit && (key === "ArrowUp" || (key === "Tab" && shiftKey))
  if (!hit || !(there || back)) return
  event.preventDefault()
  ;(there ? hit : $("#find")).focus()
})

export const begin = () => $("#find").setAttribute("aria-controls", "chats")
