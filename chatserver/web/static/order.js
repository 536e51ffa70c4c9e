// Keeping chats in order: rename in place, folders that open, chats dragged into them.

import { $, $$, conversation, csrf, notice, refreshChats, retitle, store, words } from "./app.js"

const change = (id, fields) => fetch(`/api/conversations/${id}`, {
  method: "PATCH", headers: { "X-CSRF": csrf(), "Content-Type": "application/json" }, body: JSON.stringify(fields),
}).then(async (answer) => {
  const told = await answer.json().catch(() => null)
  if (!answer.ok) throw new Error(told?.error?.message ?? words.odd)
  return told
})

// a textbox in place of the title: Enter keeps, Esc and an unchanged text leave it as it was
export function rename(id, where = $("[data-title]")) {
  if (!id || !where || $("[data-renaming]")) return
  const place = where.matches("[data-line]") ? $("span", where) : where
  const before = place.textContent
  const last = document.activeElement
  const box = Object.assign(document.createElement("input"), { value: before, maxLength: 200, className: "rename" })
  box.dataset.renaming = ""
  box.setAttribute("aria-label", where.closest(".head")?.dataset.rename || before)
  place.replaceChildren(box)
  box.select()
  box.focus()
  let isDone = false
  const finish = (keeps) => {
    if (isDone) return
    isDone = true
    const after = box.value.trim()
    place.textContent = keeps && after ? after : before
    if (!keeps || !after || after === before) return
    change(id, { title: after }).then(() => retitle(id, after), (error) => { place.textContent = before; notice(error.message) })
  }
  box.addEventListener("keydown", (event) => {
    event.stopPropagation()
    if (event.key === "Enter" && !event.isComposing) finish(true)
    else if (event.key === "Escape") finish(false)
    if (!isDone) return
    event.preventDefault() // or what gets the focus is pressed by the same key
    ;(last.isConnected && last !== document.body ? last : $("#text"))?.focus()
  })
  box.addEventListener("blur", () => finish(true))
  for (const kind of ["click", "dblclick", "mousedown"]) box.addEventListener(kind, (event) => { event.stopPropagation(); if (kind === "click") event.preventDefault() })
}

export async function unfold(folder) {
  const open = new Set(store.get("folders").split(" ").filter(Boolean))
  folder.open ? open.add(folder.dataset.folder) : open.delete(folder.dataset.folder)
  store.set("folders", [...open].join(" "))
  if (!folder.open || folder.dataset.loaded) return
  folder.dataset.loaded = "yes"
  await htmx.ajax("GET", `/chats?folder=${folder.dataset.folder}&current=${conversation()}`, { source: folder, target: $(".folder-lines", folder), swap: "innerHTML" })
}

// folders stay as they were left
export function begin() {
  const open = store.get("folders").split(" ")
  for (const folder of $$("[data-folder]")) if (open.includes(folder.dataset.folder)) folder.open = true
}

const SHELF = "[data-folder] > summary, .chats > section:not(.folders) h2"

// heard at the document: the list may be drawn anew, with a new title, while something is dragged over it
export function drag(line) {
  const id = line.dataset.line
  const away = new AbortController()
  const hear = (kind, listener) => document.addEventListener(kind, (event) => listener(event, event.target.closest?.(SHELF)), { signal: away.signal })
  const mark = (shelf) => { for (const marked of $$(".drop")) marked.classList.toggle("drop", marked === shelf); shelf?.classList.add("drop") }
  const end = () => { mark(null); away.abort() }
  hear("dragover", (event, shelf) => { mark(shelf); if (shelf) event.preventDefault() })
  hear("drop", (event, shelf) => {
    end()
    if (!shelf) return
    event.preventDefault()
    change(id, { folder_id: shelf.parentElement.dataset.folder ?? null }).then(refreshChats, (error) => notice(error.message))
  })
  hear("dragend", end)
  hear("pointerdown", end) // what was dragged is gone, and its dragend with it
}
