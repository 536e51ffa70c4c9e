// The chooser closes when one looks elsewhere, and shows whether something is on.

/** The details in the message box. */
export function begin(details) {
  const summary = details.querySelector("summary")
  details.addEventListener("change", () => summary.classList.toggle("on", !!details.querySelector(":checked")))
  document.addEventListener("click", (event) => { if (details.open && !details.contains(event.target)) details.open = false })
  details.addEventListener("keydown", (event) => { if (event.key === "Escape") { details.open = false; summary.focus() } })
}
