// What the palette's commands and the keys do that neither leads to a page nor presses a button.

import { $, $$, post, root } from "./page.js"
import { newChat } from "./chats.js"
import { beginRename } from "./renaming.js"
import { room } from "./rooms.js"

const commands = {
  new: () => $("#composer") ? newChat() : location.assign("/"),
  map: () => $("#open-panel")?.click(),
  palette: () => room("palette").then((entered) => entered.open()),
  shortcuts: () => $("#dialog") ? htmx.ajax("GET", "/shortcuts", { source: $("#dialog"), target: "#dialog", swap: "innerHTML" }) : location.assign("/shortcuts"),
  rename: () => beginRename(),
  theme: () => { const theme = getComputedStyle(root).colorScheme === "dark" || (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches) ? "light" : "dark"; root.dataset.theme = theme; post("/settings/look", { theme }) },
  previous: () => turnVersion(0),
  next: () => turnVersion(2),
}
export const does = (name) => commands[name]?.()

function turnVersion(side) {
  const groups = $$(".sib").filter((group) => group.getBoundingClientRect().top < innerHeight)
  const group = $(".sib", document.activeElement.closest?.("article") ?? document.createElement("i")) ?? groups.at(-1)
  const wanted = group?.children[side]
  if (wanted?.localName === "a") wanted.click()
}
