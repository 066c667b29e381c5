// The form to query a basket or a user, and its results.

import { request } from "./server.js";

const byId = (id) => document.getElementById(id);
const LABELS = { items: "Items, separated by commas", user: "The user's identifier" };

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function chosenKind() {
  return document.querySelector("input[name=kind]:checked").value;
}

function readQuery() {
  const text = byId("query-text").value;
  const query = {
    k: Number(byId("k").value),
    exclude_seen: byId("exclude-seen").checked,
    why: byId("why").checked,
  };
  if (chosenKind() === "user") query.user = text.trim();
  else query.items = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
  return query;
}

const KINDS = {
  remembered: "a remembered synthetic user",
  newest: "a user of the newest period",
  user: "a user",
  unknown: "a training row",
};

function reasonText(reason) {
  const names = reason.shared.map((item) => item.title ?? String(item.item));
  const more = reason.num_shared - names.length;
  if (more > 0) names.push(`${more} more`);
  const common = names.length ? ` with ${names.join(", ")}` : "";
  return `${Math.round(100 * reason.share)}%: ${KINDS[reason.kind]}${common}`;
}

function itemElement(item) {
  const node = element("li");
  node.append(element("span", "name", item.title ?? String(item.item)), " ");
  if (item.title) node.append(element("span", "quiet", String(item.item)), " ");
  node.append(element("span", "score", item.score.toPrecision(4)));
  if (item.reasons?.length) {
    const list = element("ul", "why");
    list.append(...item.reasons.map((reason) => element("li", "", reasonText(reason))));
    node.append(list);
  }
  return node;
}

// A model that cannot explain its scores is queried again without reasons.
async function recommend(query) {
  try {
    return resultElements(await request("/recommend", query));
  } catch (error) {
    if (error.status !== 422 || !query.why || !/why/.test(error.message)) throw error;
    byId("why").checked = false;
    const results = resultElements(await request("/recommend", { ...query, why: false }));
    return [element("p", "quiet", `Without reasons: ${error.message}.`), ...results];
  }
}

function resultElements(response) {
  const items = response.recommendations;
  if (!items.length) return [element("p", "quiet", "Nothing is left to recommend.")];
  const list = element("ol");
  list.append(...items.map(itemElement));
  if (!items.some((item) => item.reasons?.length)) return [list];
  const note = "Percentages are shares of all positive contributions of training rows to the score; the users of the rows are not named.";
  return [list, element("p", "quiet note", note)];
}

async function submit(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    byId("results").replaceChildren(...(await recommend(readQuery())));
  } catch (error) {
    byId("results").replaceChildren(element("p", "warning", error.message));
  } finally {
    button.disabled = false;
  }
}

export function prepareQueryForm() {
  byId("query-form").addEventListener("submit", submit);
  for (const choice of document.querySelectorAll("input[name=kind]")) {
    choice.addEventListener("change", () => {
      byId("query-label").textContent = LABELS[chosenKind()];
    });
  }
}
