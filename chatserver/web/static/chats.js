// The list of chats.

import { $, $$, conversation } from "./page.js"

export function mark(id) {
  for (const line of $$("#chats [data-line]")) line.dataset.line === id ? line.setAttribute("aria-current", "page") : line.removeAttribute("aria-current")
}

export const newChat = () => htmx.ajax("GET", "/", { target: "#main", swap: "outerHTML", push: "/", headers: { "HX-Target": "main#main" } })
export const refreshChats = () => htmx.ajax("GET", `/chats?current=${conversation()}`, { source: $("#chats"), target: "#chats", swap: "innerHTML" })
