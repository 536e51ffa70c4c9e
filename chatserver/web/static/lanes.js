// The colour of a branch beside its messages.

import { $, $$ } from "./page.js"

// new messages go on in the colour of their branch; only a fork changes it
export function keepLane() {
  const articles = $$("#thread > .msg")
  const lane = (article) => [...article.classList].find((name) => name.startsWith("lane-"))
  for (let at = Math.max(1, articles.length - 2); at < articles.length; at++) {
    if ($(".sib", articles[at])) continue
    articles[at].classList.remove(lane(articles[at]))
    articles[at].classList.add(lane(articles[at - 1]) ?? "lane-1")
  }
}
