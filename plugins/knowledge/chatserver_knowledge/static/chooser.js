// The chooser closes when one looks elsewhere, and a chip stands beside it for each collection that is on.

/** The details in the message box, with the chips. */
export function begin(tools) {
  const details = tools.querySelector("details")
  const summary = details.querySelector("summary")
  const chips = [...tools.querySelectorAll(".know-chip")]
  const box = (chip) => details.querySelector(`[name="${chip.dataset.of}"]`)
  const show = () => {
    for (const chip of chips) chip.hidden = !box(chip).checked
    summary.classList.toggle("on", !!details.querySelector(":checked"))
  }
  details.addEventListener("change", show)
  document.addEventListener("click", (event) => { if (details.open && !details.contains(event.target)) details.open = false })
  details.addEventListener("keydown", (event) => { if (event.key === "Escape") { details.open = false; summary.focus() } })
  for (const chip of chips) {
    chip.querySelector("button").addEventListener("click", () => { box(chip).checked = false; show(); summary.focus() })
  }
}
