// What one does with an artifact beside looking at it.

/** copy, full screen, ask for a change of what is selected. */
export function press(button, event, house) {
  const art = button.closest("[data-artifact]")
  const does = button.dataset.does
  if (does === "copy") copy(art, button, house)
  if (does === "full") full(art.querySelector("[data-stage]"))
  if (does === "ask") ask(art, button)
}

function copy(art, button, house) {
  navigator.clipboard.writeText(art.querySelector("[data-text]").content.textContent).then(() => house.say(button.dataset.done), (error) => house.notice(error.message))
}

function full(stage) {
  document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen?.()
}

// the selection in it is quoted into the message box
function ask(art, button) {
  const selection = getSelection()
  const inside = selection.rangeCount && art.contains(selection.anchorNode) ? selection.toString().trim() : ""
  const quoted = inside ? inside.split("\n").map((line) => `> ${line}`).join("\n") + "\n\n" : ""
  const box = document.getElementById("text")
  if (!box) return
  box.value = `${quoted}${button.dataset.about}${box.value}`
  box.dispatchEvent(new Event("input", { bubbles: true }))
  box.focus()
  box.setSelectionRange(box.value.length, box.value.length)
}
