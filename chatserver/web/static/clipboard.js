// Copying, and the tick that says it was done.

import { $, words } from "./page.js"
import { notice, say } from "./notices.js"

export function copied(button) {
  const use = $("use", button)
  const href = use.getAttribute("href").replace(/#.*/, "")
  button.classList.add("done")
  use.setAttribute("href", `${href}#check`)
  setTimeout(() => { button.classList.remove("done"); use.setAttribute("href", `${href}#copy`) }, 1600)
  say(words.copied)
}

export async function copy(button, text) {
  try {
    if (navigator.clipboard && window.ClipboardItem && typeof text !== "string")
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": text.then((value) => new Blob([value], { type: "text/plain" })) })])
    else if (navigator.clipboard) await navigator.clipboard.writeText(await text)
    else {
      const area = document.createElement("textarea")
      area.value = await text
      area.className = "vh"
      document.body.append(area)
      area.select()
      if (!document.execCommand("copy")) throw new Error("refused")
      area.remove()
    }
    copied(button)
  } catch { notice(words.copyFailed, { kind: "warn" }) }
}

export const textAt = async (path) => {
  const answer = await fetch(path)
  if (!answer.ok) throw new Error(answer.status)
  return answer.text()
}
