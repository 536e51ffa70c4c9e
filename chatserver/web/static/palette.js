// The palette: type a few letters, pick a chat or a command with the arrows, Enter does it.

import { $, $$, does } from "./app.js"

let timer = 0
let asked = 0

export function open() {
  const dialog = $("#dialog")
  if (dialog.open) dialog.close()
  dialog.replaceChildren($("#palette-box").content.cloneNode(true))
  dialog.classList.add("palette")
  dialog.addEventListener("close", () => dialog.classList.remove("palette"), { once: true })
  dialog.showModal()
  const query = $("#palette-query")
  query.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(fill, 120) })
  query.addEventListener("keydown", keys)
  $("#palette-options").addEventListener("click", (event) => choose(event.target.closest("[role=option]")))
  query.focus()
  fill()
}

async function fill() {
  const mine = ++asked
  const answer = await fetch(`/palette?q=${encodeURIComponent($("#palette-query").value)}`).catch(() => null)
  if (!answer?.ok || mine !== asked || !$("#palette-options")) return
  $("#palette-options").innerHTML = await answer.text()
  // a command that presses a button is offered where that button is
  for (const option of $$("#palette-options [data-press]")) if (option.dataset.press && !$(option.dataset.press)) option.remove()
  if (!$("[data-title]")) for (const option of $$("#palette-options [data-command=rename]")) option.remove()
  select($("#palette-options [role=option]"))
}

const chosen = () => $("#palette-options [aria-selected=true]")

function select(option) {
  if (!option) return
  chosen()?.setAttribute("aria-selected", "false")
  option.setAttribute("aria-selected", "true")
  option.scrollIntoView({ block: "nearest" })
  $("#palette-query").setAttribute("aria-activedescendant", option.id)
}

function keys(event) {
  if (event.isComposing) return
  const options = $$("#palette-options [role=option]")
  const at = options.indexOf(chosen())
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: options.length - 1 }[event.key]
  if (next !== undefined && (event.key.startsWith("Arrow") || !event.target.value)) {
    event.preventDefault()
    select(options[(next + options.length) % options.length])
  } else if (event.key === "Enter") {
    event.preventDefault()
    choose(chosen())
  }
}

function choose(option) {
  if (!option) return
  const { href, press, command, chat } = option.dataset
  $("#dialog").close()
  if (press) return $(press)?.click()
  if (chat !== undefined && $("#main[data-conversation]")) return htmx.ajax("GET", href, { target: "#main", swap: "outerHTML", push: href, headers: { "HX-Target": "main#main" } })
  if (href) return location.assign(href)
  does(command)
}
