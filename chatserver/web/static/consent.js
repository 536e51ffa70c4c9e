// A tool asks before it acts: the answer goes to the server, and the buttons away; the page's stream shows the rest.

import { csrf, notice, words } from "./app.js"

export async function press(button) {
  const row = button.closest("[data-consent]")
  const buttons = [...row.querySelectorAll("button")]
  for (const one of buttons) one.disabled = true
  try {
    const answer = await fetch(button.formAction, { method: "POST", headers: { "X-CSRF": csrf(), "HX-Request": "true" } })
    if (!answer.ok && answer.status !== 409) throw new Error(answer.statusText)
    const block = row.closest("details")
    row.remove()
    block?.querySelector("summary").focus()
  } catch {
    for (const one of buttons) one.disabled = false
    notice(words.unreachable)
  }
}
