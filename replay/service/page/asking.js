// The box to try a basket or a user, and what comes back.

import { ask } from "./server.js";

const byId = (id) => document.getElementById(id);
const LABELS = { items: "Items, with commas between", user: "The user's identifier" };

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function chosenKind() {
  return document.querySelector("input[name=kind]:checked").value;
}

function question() {
  const text = byId("what").value;
  const asked = {
    k: Number(byId("k").value),
    exclude_seen: byId("exclude-seen").checked,
    why: byId("why").checked,
  };
  if (chosenKind() === "user") asked.user = text.trim();
  else asked.items = text.split(",").map((one) => one.trim()).filter((one) => one !== "");
  return asked;
}

const KINDS = {
  remembered: "a remembered synthetic user",
  newest: "a user of the newest period",
  user: "a user",
  unknown: "someone in the training rows",
};

function reason(one) {
  const named = one.shared.map((item) => item.title ?? String(item.item));
  const more = one.num_shared - named.length;
  if (more > 0) named.push(`${more} more`);
  const common = named.length ? ` with ${named.join(", ")}` : "";
  return `${Math.round(100 * one.share)}%: ${KINDS[one.kind]}${common}`;
}

function line(one) {
  const item = element("li");
  item.append(element("span", "name", one.title ?? String(one.item)), " ");
  if (one.title) item.append(element("span", "quiet", String(one.item)), " ");
  item.append(element("span", "score", one.score.toPrecision(4)));
  if (one.reasons?.length) {
    const list = element("ul", "why");
    list.append(...one.reasons.map((why) => element("li", "", reason(why))));
    item.append(list);
  }
  return item;
}

// A model that cannot say why still recommends.
async function recommend(asked) {
  try {
    return show(await ask("/recommend", asked));
  } catch (error) {
    if (error.status !== 422 || !asked.why || !/why/.test(error.message)) throw error;
    byId("why").checked = false;
    const found = show(await ask("/recommend", { ...asked, why: false }));
    return [element("p", "quiet", `Without reasons: ${error.message}.`), ...found];
  }
}

function show(answer) {
  const found = answer.recommendations;
  if (!found.length) return [element("p", "quiet", "Nothing is left to recommend.")];
  const list = element("ol");
  list.append(...found.map(line));
  if (!found.some((one) => one.reasons?.length)) return [list];
  const note = "Percentages are of what all rows of the training data add to the score; whose row it is stays untold.";
  return [list, element("p", "quiet note", note)];
}

async function submit(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    byId("found").replaceChildren(...(await recommend(question())));
  } catch (error) {
    byId("found").replaceChildren(element("p", "warning", error.message));
  } finally {
    button.disabled = false;
  }
}

export function prepareAsking() {
  byId("ask-form").addEventListener("submit", submit);
  for (const choice of document.querySelectorAll("input[name=kind]")) {
    choice.addEventListener("change", () => {
      byId("what-label").textContent = LABELS[chosenKind()];
    });
  }
}
