// A listbox over the select that forms send.

import { $, $$ } from "./page.js"
import { store } from "./store.js"
import { toText } from "./focus.js"

let active = -1
let typed = ""
let typedAt = 0

export function pickModel(id) {
  const select = $("#model")
  select.value = id
  $("[data-picked]").textContent = select.selectedOptions[0]?.textContent.trim() ?? ""
}

export function openModels() {
  const [list, select] = [$("#models"), $("#model")]
  list.replaceChildren(...[...select.options].map((option, index) => {
    const row = $("#model-row").content.firstElementChild.cloneNode(true)
    row.id = `model-${index}`
    row.setAttribute("aria-selected", option.selected)
    $("b", row).textContent = option.textContent.trim()
    $("small", row).textContent = row.ariaDescription = option.dataset.note ?? ""
    return row
  }))
  list.hidden = false
  $("#pick").setAttribute("aria-expanded", true)
  list.focus()
  activate(select.selectedIndex)
}

export function closeModels(refocus = true) {
  if ($("#models")?.hidden ?? true) return
  $("#models").hidden = true
  $("#pick").setAttribute("aria-expanded", false)
  if (refocus) $("#pick").focus()
}

function activate(index) {
  const rows = $$("#models [role=option]")
  active = Math.max(0, Math.min(rows.length - 1, index))
  rows.forEach((row, at) => row.classList.toggle("active", at === active))
  rows[active]?.scrollIntoView({ block: "nearest" })
  $("#models").setAttribute("aria-activedescendant", `model-${active}`)
}

export function choose(index) {
  const option = $("#model").options[index]
  if (option) { pickModel(option.value); store.set("model", option.value) }
  closeModels()
  toText()
}

export function modelKey(event) {
  const moves = { ArrowDown: active + 1, ArrowUp: active - 1, Home: 0, End: 1e6, PageDown: active + 8, PageUp: active - 8 }
  if (event.key in moves) activate(moves[event.key])
  else if (event.key === "Enter" || event.key === " ") choose(active)
  else if (event.key === "Escape") closeModels()
  else if (event.key === "Tab") return
  else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
    typed = (event.timeStamp - typedAt < 700 ? typed : "") + event.key.toLowerCase()
    typedAt = event.timeStamp
    const at = [...$("#model").options].findIndex((option) => option.textContent.trim().toLowerCase().startsWith(typed))
    if (at >= 0) activate(at)
  } else return
  event.preventDefault()
  event.stopPropagation()
}

document.addEventListener("focusout", ({ target, relatedTarget }) => {
  if (target.closest?.(".models") && !relatedTarget?.closest(".models, #pick")) closeModels(false)
})
