// Folders of the list of chats: they open, stay as they were left, and have chats dragged into them.

import { $, $$, conversation, csrf, notice, refreshChats, store, words } from "./app.js"

export const change = (id, fields) => fetch(`/api/conversations/${id}`, {
  method: "PATCH", headers: { "X-CSRF": csrf(), "Content-Type": "application/json" }, body: JSON.stringify(fields),
}).then(async (answer) => {
  const told = await answer.json().catch(() => null)
  if (!answer.ok) throw new Error(told?.error?.message ?? words.odd)
  return told
})

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
