// A passage of a source, fetched from the plugin that has it into the tab; what cannot be read any more says so.

/** The place of a passage; `data-url` is its page. */
export async function begin(place) {
  const answer = await fetch(place.dataset.url, { headers: { "HX-Request": "true", Accept: "text/html" } }).catch(() => null)
  if (answer?.ok && !answer.redirected) place.innerHTML = await answer.text()
  else place.firstElementChild.hidden = false
}
