// Brings files in and puts them into the collection, one after the other. What is wrong with one is said in the reader's
// language, because the page is asked and not the API.

/** The field of files on a collection's page. */
export function begin(field, house) {
  const here = `/x/knowledge/c/${field.dataset.collection}`
  const bring = async () => {
    const list = document.getElementById("knowledge-files")
    for (const file of field.files) {
      try {
        const form = new FormData()
        form.append("file", file)
        const brought = await told("/files", form)
        await told(`${here}/add`, new URLSearchParams({ file: brought.querySelector("[name=attachments]").value }))
      } catch (error) {
        house.notice(`${file.name}: ${error.message || field.dataset.failed}`)
      }
      htmx.ajax("GET", here, { source: list, target: "#knowledge-files", swap: "innerHTML" })
    }
    field.value = ""
  }

  async function told(address, body) {
    const headers = { "X-CSRF": house.csrf(), "HX-Request": "true" }
    const answer = await fetch(address, { method: "POST", headers, body }).catch(() => { throw new Error("") })
    const parts = Object.assign(document.createElement("template"), { innerHTML: await answer.text() }).content
    if (answer.ok) return parts
    const said = parts.querySelector(".note p")
    said?.querySelector("b")?.remove()
    throw new Error(said?.textContent.trim() ?? "")
  }

  field.addEventListener("change", bring)
  if (field.files.length) bring() // picked before this script was here
}
