// Another answer by another model: a list beside Regenerate.

import { $, $$, csrf, pickModel } from "./app.js"
import { place } from "./more.js"

let box = null
let list = null
let button = null
let active = 0
let typed = ""
let typedAt = 0

const rows = () => $$("[role=option]", list)

export function press(element) {
  if (list && button === element) return close()
  close(false)
  button = element
  const options = [...$("#model").options]
  const now = $("h2", element.closest("article"))?.textContent ?? ""
  box = Object.assign(document.createElement("div"), { className: "models again" })
  list = document.createElement("div")
  list.tabIndex = -1
  list.setAttribute("role", "listbox")
  list.setAttribute("aria-label", element.title)
  list.append(...options.map((option, index) => {
    const row = $("#model-row").content.firstElementChild.cloneNode(true)
    row.id = `again-${index}`
    row.dataset.model = option.value
    row.setAttribute("aria-selected", option.textContent.trim() === now)
    $("b", row).textContent = option.textContent.trim()
    $("small", row).textContent = row.ariaDescription = option.dataset.note ?? ""
    return row
  }))
  list.addEventListener("keydown", key)
  list.addEventListener("click", (event) => { const row = event.target.closest("[role=option]"); if (row) choose(row) })
  list.addEventListener("focusout", ({ relatedTarget }) => { if (relatedTarget !== button) close(false) })
  box.append(list)
  element.after(box)
  element.setAttribute("aria-expanded", true)
  place(box)
  list.focus()
  activate(Math.max(0, rows().findIndex((row) => row.getAttribute("aria-selected") !== "true")))
}

function close(refocus = true) {
  const gone = box
  box = list = null
  gone?.remove()
  button?.setAttribute("aria-expanded", false)
  if (gone && refocus) button.focus()
}

function activate(index) {
  active = Math.max(0, Math.min(rows().length - 1, index))
  rows().forEach((row, at) => row.classList.toggle("active", at === active))
  rows()[active]?.scrollIntoView({ block: "nearest" })
  list.setAttribute("aria-activedescendant", `again-${active}`)
}

function choose(row) {
  const id = button.closest("article").id.slice(2)
  const model = row.dataset.model
  close()
  pickModel(model) // the chat goes on with it
  htmx.ajax("POST", `/m/${id}/regenerate`, { source: button, target: "#view", swap: "outerHTML", values: { csrf: csrf(), model } })
}

function key(event) {
  const moves = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: 1e6, PageDown: active + 8, PageUp: active - 8 }
  if (event.key in moves) activate(moves[event.key])
  else if (event.key === "Enter" || event.key === " ") choose(rows()[active])
  else if (event.key === "Escape") close()
  else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
    typed = (event.timeStamp - typedAt < 700 ? typed : "") + event.key.toLowerCase()
    typedAt = event.timeStamp
    const at = rows().findIndex((row) => row.textContent.trim().toLowerCase().startsWith(typed))
    if (at >= 0) activate(at)
  } else return
  event.preventDefault()
  event.stopPropagation()
}
