// A chat that was made by its settings: what was typed for a new chat is its draft from now on.

import { $, conversation, store } from "./app.js"

export function begin() {
  const text = $("#text").value
  store.set("draft:new", "")
  store.set(`draft:${conversation()}`, text)
}
