// Brings files in and puts them into the collection, one after the other.

/** The field of files on a collection's page. */
export function begin(field, house) {
  const bring = async () => {
    const list = document.getElementById("knowledge-files")
    for (const file of field.files) {
      try {
        const form = new FormData()
        form.append("file", file)
        const brought = await told(await fetch("/api/files", { method: "POST", headers: { "X-CSRF": house.csrf() }, body: form }))
        const headers = { "X-CSRF": house.csrf(), "Content-Type": "application/json" }
        await told(await fetch(`/x/knowledge/collections/${field.dataset.collection}/files`, { method: "POST", headers, body: JSON.stringify({ file_id: brought.id }) }))
      } catch (error) {
        house.notice(`${file.name}: ${error.message}`)
      }
      htmx.ajax("GET", `/x/knowledge/c/${field.dataset.collection}`, { source: list, target: "#knowledge-files", swap: "innerHTML" })
    }
    field.value = ""
  }
  field.addEventListener("change", bring)
  if (field.files.length) bring() // picked before this script was here
}

async function told(answer) {
  const body = await answer.json().catch(() => null)
  if (!answer.ok) throw new Error(body?.error?.message ?? answer.statusText)
  return body
}
