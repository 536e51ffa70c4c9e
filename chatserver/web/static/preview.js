// A reply that is being rewritten, as it will look: one press shows it, another goes back to writing.

import { $, csrf, grow, notice, words } from "./app.js"

export async function press(button) {
  const editor = button.closest(".editor")
  const [area, place] = [$("textarea", editor), $("[data-preview]", editor)]
  if (button.getAttribute("aria-pressed") === "true") {
    show(button, area, place, false)
    return area.focus()
  }
  if (!area.value.trim()) return area.focus()
  try {
    const answer = await fetch(button.getAttribute("formaction"), {
      method: "POST",
      headers: { "X-CSRF": csrf(), "HX-Request": "true" },
      body: new URLSearchParams({ csrf: csrf(), text: area.value }),
    })
    if (!answer.ok) return notice(words.odd)
    place.innerHTML = await answer.text()
    show(button, area, place, true)
  } catch { notice(words.unreachable) }
}

function show(button, area, place, isShown) {
  button.setAttribute("aria-pressed", isShown)
  area.hidden = isShown
  place.hidden = !isShown
  if (!isShown) grow(area)
}
