// The list of tool servers closes as menus do, and its button shows whether any is on.

export function begin(list) {
  const away = (event) => {
    if (!list.isConnected) document.removeEventListener("pointerdown", away)
    else if (!list.contains(event.target)) list.open = false
  }
  document.addEventListener("pointerdown", away)
  const button = list.querySelector("summary")
  list.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !list.open) return
    event.stopPropagation()
    list.open = false
    button.focus()
  })
  list.addEventListener("change", () => button.classList.toggle("on", Boolean(list.querySelector(":checked"))))
}
