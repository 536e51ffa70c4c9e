// A tool asks before it acts: the answer goes to the server, and its block comes back without the question.

import { csrf, notice, words } from "./app.js"

export async function press(button) {
  const block = button.closest("details")
  const buttons = [...block.querySelectorAll("button")]
  for (const one of buttons) one.disabled = true
  try {
    const answer = await fetch(button.formAction, { method: "POST", headers: { "X-CSRF": csrf(), "HX-Request": "true" } })
    if (!answer.ok && answer.status !== 409) throw new Error(answer.statusText)
    const box = document.createElement("template")
    box.innerHTML = answer.ok ? await answer.text() : ""
    const fresh = box.content.querySelector("details")
    if (!block.isConnected) return // its result was quicker
    if (fresh) block.replaceWith(fresh)
    else button.parentElement.remove()
    ;(fresh ?? block).querySelector("summary").focus()
  } catch {
    for (const one of buttons) one.disabled = false
    notice(words.unreachable)
  }
}
