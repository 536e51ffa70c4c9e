// The menu of a message: fetched when it is opened, walked by arrow keys; copies, links and quotes.

import { $, $$, copied, copy, isTouch, notice, words } from "./app.js"
import { quote } from "./quote.js"

let list = null
let opener = null

export function press(element) {
  if (element.hasAttribute("aria-expanded")) return element === opener ? close() : open(element)
  const article = element.closest("article")
  const mark = $("[data-copy]", article)
  const does = element.dataset.does
  close()
  if (does === "link") copy(mark, new URL(element.dataset.link, location.href).href)
  else if (does === "quote") quote(selectedIn(article) || textOf(article))
  else if (does === "text") copy(mark, plainOf(article))
  else if (does === "rich") copyRich(mark, article)
}

async function open(button) {
  close()
  opener = button
  const made = Object.assign(document.createElement("div"), { className: "menu-list", hidden: true })
  try {
    const answer = await fetch(button.getAttribute("formaction"), { headers: { "HX-Request": "true" } })
    if (!answer.ok) throw new Error(answer.status)
    made.innerHTML = await answer.text()
  } catch {
    if (opener === button) opener = null
    return notice(words.unreachable)
  }
  if (opener !== button || !button.isConnected) return
  list = made
  button.after(list)
  htmx.process(list)
  const sheet = $("link", list)
  if (sheet && !sheet.sheet) await new Promise((done) => { sheet.onload = sheet.onerror = done })
  if (list !== made) return
  list.hidden = false
  button.setAttribute("aria-expanded", true)
  place(list)
  if (!isTouch.matches) items()[0]?.focus()
}

function close(refocus = false) {
  const had = opener
  list?.remove()
  list = opener = null
  had?.setAttribute("aria-expanded", false)
  if (refocus) had?.focus()
}

// above the buttons where there is no room below them, within what one sees of the chat
export function place(box) {
  box.classList.remove("up", "start")
  const [own, view] = [box.getBoundingClientRect(), $("#view").getBoundingClientRect()]
  if (own.bottom > view.bottom && own.top - view.top > own.height) box.classList.add("up")
  const toEnd = getComputedStyle(box).direction === "ltr" ? own.left < view.left : own.right > view.right
  if (toEnd) box.classList.add("start")
}

const items = () => $$("button, a", list).filter((item) => item.offsetParent)

document.addEventListener("keydown", (event) => {
  if (!list?.parentElement.contains(event.target)) return
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (event.key === "Escape") close(true)
  else if (step) {
    const all = items()
    const at = all.indexOf(event.target)
    all[(at < 0 && step < 0 ? all.length - 1 : at + step + all.length) % all.length]?.focus()
  } else return
  event.preventDefault()
  event.stopPropagation()
}, true)

document.addEventListener("focusout", ({ target, relatedTarget }) => {
  if (list?.parentElement.contains(target) && relatedTarget && !list.parentElement.contains(relatedTarget)) close()
})

// what is pressed in it is done before it goes
document.addEventListener("click", (event) => {
  const isIn = list?.parentElement.contains(event.target)
  if (list && (!isIn || (event.target.closest(".menu-list button") && !event.target.closest("[data-room]")))) setTimeout(close)
})

const body = (article) => $("[data-part=text], .bubble", article)
const textOf = (article) => body(article).innerText.trim()

function selectedIn(article) {
  const selection = getSelection()
  return !selection.isCollapsed && body(article).contains(selection.anchorNode) ? selection.toString().trim() : ""
}

// what a reader sees, without what one presses
function shown(article) {
  const clone = body(article).cloneNode(true)
  for (const element of $$("button, figcaption, svg", clone)) element.remove()
  for (const element of $$("[tabindex], [class], [dir]", clone)) for (const name of ["tabindex", "class", "dir"]) element.removeAttribute(name)
  return clone
}

function plainOf(article) {
  const clone = shown(article)
  clone.className = "vh plain-copy"
  document.body.append(clone) // innerText knows of lines only where there is a layout
  const text = clone.innerText.trim()
  clone.remove()
  return text
}

async function copyRich(mark, article) {
  if (!window.ClipboardItem || !navigator.clipboard?.write) return copy(mark, plainOf(article))
  const blob = (text, type) => new Blob([text], { type })
  const item = new ClipboardItem({
    "text/html": blob(shown(article).innerHTML, "text/html"),
    "text/plain": blob(plainOf(article), "text/plain"),
  })
  try {
    await navigator.clipboard.write([item])
    copied(mark)
  } catch { notice(words.copyFailed, { kind: "warn" }) }
}
