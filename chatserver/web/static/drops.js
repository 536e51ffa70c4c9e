// Files come from a picker, a clipboard or another window; ./files.js does the rest.

import { $, root, words } from "./page.js"
import { notice } from "./notices.js"
import { room } from "./rooms.js"

function bring(event, files) {
  if (!files?.length || !$("#composer")) return
  event.preventDefault()
  const some = [...files]
  room("files").then((entered) => entered.add(some), () => notice(words.unreachable))
}
const dragged = (event) => event.dataTransfer?.types.includes("Files") && $("#composer")
document.addEventListener("change", (event) => { if (event.target.id === "pick-files") bring(event, event.target.files) })
document.addEventListener("paste", (event) => { if (!event.clipboardData.types.includes("text/plain")) bring(event, event.clipboardData.files) })
document.addEventListener("dragover", (event) => { if (dragged(event)) { event.preventDefault(); root.dataset.drag = "" } })
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) delete root.dataset.drag })
document.addEventListener("drop", (event) => { delete root.dataset.drag; if (dragged(event)) bring(event, event.dataTransfer.files) })
