// Picking several models in the composer, and the comparison as a phone shows it. Loaded when one of them is asked for.

import { $, $$, say, words } from "./app.js"

const AT_MOST = 4
const picked = []
let button = null

const list = () => $("#models")
const options = () => [...$("#model").options]
const title = (id) => options().find((option) => option.value === id)?.textContent.trim() ?? id
const isOn = () => button?.isConnected && button.getAttribute("aria-pressed") === "true"

/** The toggle in the list of models: from now on, or no longer, several may be picked. */
export function press(element) {
  button = element
  const on = !isOn()
  button.setAttribute("aria-pressed", on)
  picked.splice(0, picked.length, ...(on ? [$("#model").value] : []))
  if (on && !list().dataset.watched) {
    watch()
    document.head.append($("[data-sheets]").content.cloneNode(true)) // what the answers will be dressed in
  }
  show()
  list().focus()
}

function watch() {
  list().dataset.watched = "yes"
  new MutationObserver(() => isOn() && mark()).observe(list(), { childList: true }) // made anew each time it opens
  list().addEventListener("click", (event) => {
    const row = event.target.closest("[role=option]")
    if (!isOn() || !row) return
    event.stopPropagation()
    toggle(row)
  })
  list().addEventListener("keydown", (event) => {
    if (!isOn() || ![" ", "Enter"].includes(event.key)) return
    event.preventDefault()
    event.stopPropagation()
    const row = document.getElementById(list().getAttribute("aria-activedescendant"))
    if (event.key === " ") return row && toggle(row)
    $("#text").focus() // the list closes when it is left
  })
}

function toggle(row) {
  const id = options()[Number(row.id.slice(6))].value
  const at = picked.indexOf(id)
  if (at >= 0) picked.splice(at, 1)
  else if (picked.length < AT_MOST) picked.push(id)
  else return say(words.enough)
  show()
}

function show() {
  mark()
  const names = picked.map(title)
  $("[data-picked]").textContent = isOn() && names.length ? names.join(", ") : title($("#model").value)
  for (const field of $$("#composer [data-also]")) field.remove()
  if (!isOn()) return
  $("#composer").append(...picked.map((id) => {
    const field = document.createElement("input")
    Object.assign(field, { type: "hidden", name: "models", value: id })
    field.dataset.also = ""
    return field
  }))
}

function mark() {
  const rows = $$("[role=option]", list())
  list().setAttribute("aria-multiselectable", isOn())
  rows.forEach((row, at) => {
    const { value, selected } = options()[at]
    row.setAttribute("aria-selected", isOn() ? picked.includes(value) : selected)
  })
}

/** A comparison came into the page: nothing is kept of what was picked for it. */
export function begin() {
  picked.length = 0
}
