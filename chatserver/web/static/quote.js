// Words picked out of a message: a button beside them puts them into the composer as a quotation.

import { $, grow, say, words } from "./app.js"

const MAX_CHARS = 20_000
let button = null
let timer = 0

export function quote(text) {
  const area = $("#text")
  const lines = text.slice(0, MAX_CHARS).trim().split("\n").map((line) => `> ${line}`.trimEnd())
  const before = area.value.trimEnd()
  area.value = `${before ? `${before}\n\n` : ""}${lines.join("\n")}\n\n`
  area.dispatchEvent(new Event("input", { bubbles: true })) // the draft is kept like typed words
  grow(area)
  area.focus()
  area.setSelectionRange(area.value.length, area.value.length)
  area.scrollTop = area.scrollHeight
  say(words.quoted)
}

function picked() {
  const selection = getSelection()
  if (selection.isCollapsed || !selection.rangeCount) return null
  const place = selection.getRangeAt(0).commonAncestorContainer
  const element = place.nodeType === 1 ? place : place.parentElement
  const body = element?.closest(".prose, .bubble")
  const article = body?.closest("article.msg")
  return article && !article.querySelector(".editor") && selection.toString().trim() ? { selection, body, article } : null
}

function show() {
  const found = picked()
  if (!found) return hide()
  button ??= make()
  // right behind the words, so that Tab leads from them to it
  if (button.previousElementSibling !== found.body) found.body.after(button)
  button.hidden = false
  const [box, own] = [found.selection.getRangeAt(0).getBoundingClientRect(), found.article.getBoundingClientRect()]
  const middle = (box.left + box.right) / 2 - own.left
  const half = button.offsetWidth / 2
  button.style.left = `${Math.max(0, Math.min(own.width - 2 * half, middle - half))}px`
  button.style.top = `${box.bottom - own.top + 6}px`
}

function hide() {
  if (button && document.activeElement !== button) button.hidden = true
}

function make() {
  const made = $("#quote").content.firstElementChild.cloneNode(true)
  made.addEventListener("pointerdown", (event) => event.preventDefault()) // or the words would no longer be picked
  made.addEventListener("click", () => {
    const found = picked()
    if (!found) return
    const text = found.selection.toString()
    made.hidden = true
    getSelection().removeAllRanges()
    quote(text)
  })
  made.addEventListener("blur", () => setTimeout(show))
  return made
}

export function begin() {
  document.addEventListener("selectionchange", () => {
    clearTimeout(timer)
    timer = setTimeout(show, 120)
  })
  show()
}
