// The live state and its charts, loaded again and again while the page is visible.

import { barChart, lineChart, valueTable } from "./charts.js";
import { prepareQueryForm } from "./query.js";
import { request, setToken } from "./server.js";

const INTERVAL = 10_000; // Milliseconds.
const byId = (id) => document.getElementById(id);
const MEMORY = { rows: "synthetic users", entries: "items of synthetic users", bytes: "bytes" };

let status = null;
let shown = "";

const count = (value) => value.toLocaleString("en");
const formatFigure = (value) => (Math.abs(value) < 1 ? value.toFixed(3) : value.toFixed(2));

function size(bytes) {
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB") return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1024;
  }
  return "";
}

function toDate(text) {
  // The service's times are UTC, with or without a zone.
  return new Date(/[zZ]|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`);
}

function timeAgo(moment) {
  const seconds = Math.max(0, (Date.now() - moment) / 1000);
  const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, one]) => seconds >= 2 * one) ?? ["second", 1];
  const number = Math.round(seconds / length);
  return `${number} ${unit}${number === 1 ? "" : "s"} ago`;
}

function formatTime(moment) {
  return moment.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

function showFacts() {
  const published = status.published ? toDate(status.published) : null;
  const log = status.log ?? {};
  const facts = {
    "Published period": status.published_period ?? (status.model ? "none yet" : null),
    Published: published ? timeAgo(published) : "not yet",
    "Published at": published ? formatTime(published) : "",
    Model: status.model,
    Strategy: status.strategy,
    Periods: count(status.periods),
    "Periods behind": count(status.periods_behind),
    Interactions: log.interactions === undefined ? "" : count(log.interactions),
    "Users, items": log.users === undefined ? "" : `${count(log.users)}, ${count(log.items)}`,
    "Size of the model": status.model_bytes ? size(status.model_bytes) : "",
    "Size of the store": status.store_bytes ? size(status.store_bytes) : "",
  };
  byId("facts").replaceChildren(
    ...Object.entries(facts).filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const description = document.createElement("dd");
      term.textContent = name;
      description.textContent = value;
      pair.append(term, description);
      return pair;
    }),
  );
  const behind = byId("behind");
  behind.hidden = !published || !status.periods_behind;
  behind.textContent = `The newest period is ${status.newest_period}; the published model was not fitted on all of it yet.`;
  if (!status.model) byId("headline").textContent = "This store has no live model; choose one with “perennial init”.";
  else byId("headline").textContent = published
    ? `${status.model} with ${status.strategy}, up to period ${status.published_period}`
    : "Nothing is published yet. The first “perennial ingest” publishes a model, and this page shows it.";
}

function chosenMetric() {
  return status.metrics[Number(byId("metric").value)] ?? status.metrics[0];
}

function fillMetrics() {
  const select = byId("metric");
  const selected = select.selectedOptions[0]?.textContent;
  select.replaceChildren(...status.metrics.map((one, at) => new Option(one.label, String(at), false, one.label === selected)));
}

function showMetric() {
  const evaluated = status.metrics.some((one) => one.values.some((point) => point.value !== null));
  byId("quality-empty").hidden = evaluated;
  byId("quality-shown").hidden = !evaluated;
  if (!evaluated) return;
  const metric = chosenMetric();
  const known = metric.values.some((one) => one.value !== null);
  byId("metric-mean").textContent = metric.mean === null ? "" : `mean ${formatFigure(metric.mean)} (dashed)`;
  if (known) lineChart(byId("metric-chart"), metric.label, metric.values, metric.mean, formatFigure);
  else byId("metric-chart").textContent = "No user could be evaluated by this metric yet.";
  const rows = metric.values.map((one) => [one.period, one.value === null ? "–" : formatFigure(one.value)]);
  byId("metric-table").replaceChildren(valueTable(["Period", metric.label], rows));
}

function showMemory() {
  const exists = status.memory.length > 0;
  byId("memory-empty").hidden = exists;
  byId("memory-shown").hidden = !exists;
  if (!exists) return;
  const quantity = byId("memory-quantity").value;
  const points = status.memory.map((one) => ({ period: one.period, value: one[quantity] }));
  barChart(byId("memory-chart"), MEMORY[quantity], points, quantity === "bytes" ? size : count);
  const rows = status.memory.map((one) => [one.period, count(one.rows), count(one.entries), size(one.bytes)]);
  byId("memory-table").replaceChildren(valueTable(["Period", "Synthetic users", "Items", "Bytes"], rows));
}

function showAll() {
  showFacts();
  fillMetrics();
  showMetric();
  showMemory();
}

function setUnlocked(unlocked) {
  byId("locked").hidden = unlocked;
  for (const id of ["state", "quality", "memory"]) byId(id).hidden = !unlocked || status === null;
  byId("query").hidden = !unlocked;
}

async function refresh() {
  try {
    status = await request("/status");
    const text = JSON.stringify(status);
    setUnlocked(true);
    // Unchanged charts and tables are not drawn again, so that nothing moves while it is read.
    if (text !== shown) showAll();
    else showFacts();
    shown = text;
    return null;
  } catch (error) {
    setUnlocked(error.status !== 401);
    // A link cannot carry the token.
    if (error.status === 401) byId("figures").hidden = true;
    byId("headline").textContent = error.status === 401 ? "The service needs a token." : `No state to show: ${error.message}`;
    return error;
  }
}

async function enterToken(event) {
  event.preventDefault();
  setToken(byId("token").value.trim());
  byId("token").value = "";
  const error = await refresh();
  const wrong = error?.status === 401;
  byId("token-error").hidden = !wrong;
  byId("token-error").textContent = wrong ? "That is not the token." : "";
  if (!wrong) byId("query-heading").focus();
}

byId("token-form").addEventListener("submit", enterToken);
byId("metric").addEventListener("change", showMetric);
byId("memory-quantity").addEventListener("change", showMemory);
prepareQueryForm();
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width || status === null) return;
  width = window.innerWidth;
  showMetric();
  showMemory();
});
setInterval(() => {
  if (!document.hidden && byId("locked").hidden) refresh();
}, INTERVAL);
await refresh();
document.body.dataset.ready = "yes";
