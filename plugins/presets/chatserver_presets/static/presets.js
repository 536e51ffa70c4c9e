// The list of presets in the message box, by its button or by a slash, and the chip of the one that is picked. The select
// behind them is what the form sends.

let house = null
let list = null // the listbox, while it is open
let isTyping = false // opened by a slash: the focus stays in the box
let active = 0

const select = () => document.getElementById("preset")
const text = () => document.getElementById("text")
const rows = () => [...list.querySelectorAll("[role=option]")]

/** The button opens and closes the list; the cross in the chip takes the preset away. */
export function press(element, event, given) {
  house = given
  if ("takeAway" in element.dataset) return pick("")
  list ? close() : open("")
}

/** A message that begins with a slash is a search among presets, as long as it is one word. */
export function slash(element, given) {
  house = given
  const wanted = text().value.match(/^\/([^\s/]{0,40})$/)
  if (!wanted) return close()
  isTyping = true
  open(wanted[1])
}

/** A chat begun with a preset asks the preset's model. */
export function begin(element, given) {
  house = given
  takeModel()
}

function open(wanted) {
  dress()
  if (!list) build()
  const found = [...select().options].filter((one) => one.value && one.textContent.toLowerCase().includes(wanted.toLowerCase()))
  list.replaceChildren(...found.map(row))
  list.nextElementSibling.hidden = found.length > 0
  activate(Math.max(0, found.findIndex((one) => one.selected)))
  if (!isTyping) list.focus()
}

// the style sheet is asked for once, when there is something to dress
function dress() {
  const href = select().dataset.sheet
  if ([...document.styleSheets].some((sheet) => sheet.href?.endsWith(href)) || document.querySelector(`link[href="${href}"]`)) return
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }))
}

function build() {
  const box = document.createElement("div")
  box.className = "models preset-list"
  list = document.createElement("div")
  Object.assign(list, { id: "presets", role: "listbox", tabIndex: -1, ariaLabel: select().dataset.list })
  const none = document.createElement("p")
  none.className = "none"
  const make = document.createElement("a")
  Object.assign(make, { href: "/x/presets/new", textContent: select().dataset.make })
  none.append(`${select().dataset.none}. `, make)
  box.append(list, none)
  document.getElementById("composer").append(box)
  list.addEventListener("click", (event) => {
    const found = event.target.closest("[role=option]")
    if (found) pick(found.dataset.id)
  })
  document.addEventListener("keydown", key, true)
  document.addEventListener("pointerdown", outside)
  text().addEventListener("input", cleared)
  list.addEventListener("focusout", (event) => { if (!isTyping && !box.contains(event.relatedTarget)) close() })
  document.getElementById("preset-pick").setAttribute("aria-expanded", true)
  text().setAttribute("aria-controls", "presets")
}

function row(option, index) {
  const made = document.getElementById("model-row").content.firstElementChild.cloneNode(true)
  made.id = `preset-${index}`
  made.dataset.id = option.value
  made.setAttribute("aria-selected", option.selected)
  made.querySelector("b").textContent = option.textContent.trim()
  made.querySelector("small").textContent = made.ariaDescription = option.dataset.note ?? ""
  return made
}

function activate(index) {
  const all = rows()
  active = Math.max(0, Math.min(all.length - 1, index))
  all.forEach((one, at) => one.classList.toggle("active", at === active))
  all[active]?.scrollIntoView({ block: "nearest" })
  const holder = isTyping ? text() : list
  all.length ? holder.setAttribute("aria-activedescendant", all[active].id) : holder.removeAttribute("aria-activedescendant")
}

function key(event) {
  if (!list || event.isComposing || ![text(), list].includes(event.target)) return
  const moves = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + 8, PageUp: active - 8, ...(isTyping ? {} : { Home: 0, End: 1e6 }) }
  if (event.key in moves) activate(moves[event.key])
  else if ((event.key === "Enter" && !event.shiftKey) || (event.key === " " && !isTyping)) {
    const found = rows()[active]
    if (!found) { if (!isTyping) close(); return }
    pick(found.dataset.id)
  } else if (event.key === "Escape") close(true)
  else if (event.key === "Tab") return close()
  else return
  event.preventDefault()
  event.stopPropagation()
}

function cleared() {
  if (isTyping && text().value[0] !== "/") close()
}

function outside(event) {
  if (!list.parentElement.contains(event.target) && !event.target.closest("#preset-pick")) close()
}

function close(refocus = false) {
  if (!list) return
  const box = list.parentElement
  list = null
  isTyping = false
  box.remove()
  document.removeEventListener("keydown", key, true)
  document.removeEventListener("pointerdown", outside)
  text()?.removeEventListener("input", cleared)
  document.getElementById("preset-pick")?.setAttribute("aria-expanded", false)
  for (const name of ["aria-controls", "aria-activedescendant"]) text()?.removeAttribute(name)
  if (refocus) text()?.focus()
}

async function pick(id) {
  if (isTyping) {
    text().value = ""
    text().dispatchEvent(new Event("input", { bubbles: true })) // the draft and the height follow
  }
  close()
  const chip = document.getElementById("preset-chip")
  if (!id) {
    select().value = ""
    chip.replaceChildren()
    house.say(select().dataset.taken)
    return settle()
  }
  try {
    const answer = await fetch(`/x/presets/chip?id=${id}`, { headers: { "HX-Request": "true", Accept: "text/html" } })
    if (!answer.ok) throw new Error(answer.status)
    const box = document.createElement("template")
    box.innerHTML = await answer.text()
    select().value = id
    chip.replaceChildren(box.content)
  } catch { return house.notice(house.words.unreachable) }
  house.say(select().selectedOptions[0].textContent.trim())
  takeModel()
  settle()
}

function takeModel() {
  const wanted = select().selectedOptions[0]?.dataset.model
  if (wanted && [...document.getElementById("model").options].some((option) => option.value === wanted)) house.pickModel(wanted)
}

function settle() {
  delete document.getElementById("composer").dataset.key // with another preset it is another request
  const empty = [...document.querySelectorAll(".preset-fields input")].find((field) => !field.value)
  ;(empty ?? text()).focus()
}
