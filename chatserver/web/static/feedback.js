// Feedback: the buttons of the message show what was said as soon as it is kept, and get the focus back.

import { $, $$ } from "./app.js"

export function begin(form) {
  const place = () => document.getElementById(form.dataset.place)
  place()?.classList.add("given")
  for (const button of $$("button", place() ?? form)) if (button.name === "value") button.setAttribute("aria-pressed", button.value === form.dataset.value)
  const settle = (event) => {
    if (event.detail.ctx?.target?.id !== form.dataset.place) return
    document.removeEventListener("htmx:after:swap", settle)
    setTimeout(() => ($("[aria-pressed=true]", place()) ?? $("button", place()))?.focus())
  }
  document.addEventListener("htmx:after:swap", settle)
}
