// The live state and its charts, asked for again while the page is looked at.

import { prepareAsking } from "./asking.js";
import { barChart, lineChart, valueTable } from "./charts.js";
import { ask, useToken } from "./server.js";

const EVERY = 10_000;
const byId = (id) => document.getElementById(id);
const MEMORY = { rows: "synthetic users", entries: "items of synthetic users", bytes: "bytes" };

let status = null;
let shown = "";

const count = (value) => value.toLocaleString("en");
const figure = (value) => (Math.abs(value) < 1 ? value.toFixed(3) : value.toFixed(2));

function size(bytes) {
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB") return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
    value /= 1024;
  }
  return "";
}

function asDate(text) {
  // The service's times are UTC, with or without saying so.
  return new Date(/[zZ]|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`);
}

function ago(moment) {
  const seconds = Math.max(0, (Date.now() - moment) / 1000);
  const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, one]) => seconds >= 2 * one) ?? ["second", 1];
  const many = Math.round(seconds / length);
  return `${many} ${unit}${many === 1 ? "" : "s"} ago`;
}

function minute(moment) {
  return moment.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

function showFacts() {
  const published = status.published ? asDate(status.published) : null;
  const log = status.log ?? {};
  const facts = {
    "Published period": status.published_period ?? (status.model ? "none yet" : null),
    Published: published ? ago(published) : "not yet",
    "Published at": published ? minute(published) : "",
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
      const said = document.createElement("dd");
      term.textContent = name;
      said.textContent = value;
      pair.append(term, said);
      return pair;
    }),
  );
  const behind = byId("behind");
  behind.hidden = !published || !status.periods_behind;
  behind.textContent = `The newest period is ${status.newest_period}; the model that answers has not seen all of it yet.`;
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
  const kept = select.selectedOptions[0]?.textContent;
  select.replaceChildren(...status.metrics.map((one, at) => new Option(one.label, String(at), false, one.label === kept)));
}

function showMetric() {
  const judged = status.metrics.some((one) => one.values.some((point) => point.value !== null));
  byId("quality-empty").hidden = judged;
  byId("quality-shown").hidden = !judged;
  if (!judged) return;
  const metric = chosenMetric();
  const known = metric.values.some((one) => one.value !== null);
  byId("metric-mean").textContent = metric.mean === null ? "" : `mean ${figure(metric.mean)} (dashed)`;
  if (known) lineChart(byId("metric-chart"), metric.label, metric.values, metric.mean, figure);
  else byId("metric-chart").textContent = "Nobody could be asked about this metric yet.";
  const rows = metric.values.map((one) => [one.period, one.value === null ? "–" : figure(one.value)]);
  byId("metric-table").replaceChildren(valueTable(["Period", metric.label], rows));
}

function showMemory() {
  const kept = status.memory.length > 0;
  byId("memory-empty").hidden = kept;
  byId("memory-shown").hidden = !kept;
  if (!kept) return;
  const what = byId("memory-what").value;
  const points = status.memory.map((one) => ({ period: one.period, value: one[what] }));
  barChart(byId("memory-chart"), MEMORY[what], points, what === "bytes" ? size : count);
  const rows = status.memory.map((one) => [one.period, count(one.rows), count(one.entries), size(one.bytes)]);
  byId("memory-table").replaceChildren(valueTable(["Period", "Synthetic users", "Items", "Bytes"], rows));
}

function showAll() {
  showFacts();
  fillMetrics();
  showMetric();
  showMemory();
}

function unlock(open) {
  byId("locked").hidden = open;
  for (const id of ["state", "quality", "memory"]) byId(id).hidden = !open || status === null;
  byId("ask").hidden = !open;
}

async function refresh() {
  try {
    const found = await ask("/status");
    const text = JSON.stringify(found);
    status = found;
    unlock(true);
    // What has not changed is left alone, so that nothing jumps under the hand of who reads it.
    if (text !== shown) showAll();
    else showFacts();
    shown = text;
    return null;
  } catch (error) {
    unlock(error.status !== 401);
    // A link cannot carry the token.
    if (error.status === 401) byId("figures").hidden = true;
    byId("headline").textContent = error.status === 401 ? "The service asks for a token." : `No state to show: ${error.message}`;
    return error;
  }
}

async function enterToken(event) {
  event.preventDefault();
  useToken(byId("token").value.trim());
  byId("token").value = "";
  const error = await refresh();
  const refused = error?.status === 401;
  byId("token-error").hidden = !refused;
  byId("token-error").textContent = refused ? "That is not the token." : "";
  if (!refused) byId("ask-heading").focus();
}

byId("token-form").addEventListener("submit", enterToken);
byId("metric").addEventListener("change", showMetric);
byId("memory-what").addEventListener("change", showMemory);
prepareAsking();
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width || status === null) return;
  width = window.innerWidth;
  showMetric();
  showMemory();
});
setInterval(() => {
  if (!document.hidden && byId("locked").hidden) refresh();
}, EVERY);
await refresh();
document.body.dataset.ready = "yes";
