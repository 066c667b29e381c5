// Two small charts as SVG: a line over the periods, and a bar for each period.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 260;
const EDGE = { top: 16, right: 14, bottom: 40 };
const CHARACTER = 7.4; // Width of a digit at the charts' font size.

function draw(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Round steps that give four or five lines of the grid.
function ticks(low, high) {
  const rough = (high - low || Math.abs(high) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((one) => one * power >= rough * 0.999);
  const marks = [];
  for (let at = Math.floor(low / step + 1e-9); at * step < high + step * 0.999; at += 1) {
    marks.push(at * step);
  }
  if (marks.length < 2) marks.push(marks[0] + step);
  return marks;
}

// Which periods get a label: as many as fit, always the first and the last.
function labelled(periods, width) {
  const room = Math.max(1, Math.floor(width / (CHARACTER * 5)));
  const every = Math.max(1, Math.ceil((periods.length - 1) / room));
  const last = periods.length - 1;
  return periods.map((_, at) => at === last || (at % every === 0 && last - at >= every));
}

const plain = (mark) => String(Number(mark.toFixed(6)));

function frame(host, label, points, format, fromZero) {
  const width = Math.max(260, host.clientWidth);
  const values = points.map((one) => one.value).filter((one) => one !== null);
  const marks = ticks(fromZero ? 0 : Math.min(...values), Math.max(...values, fromZero ? 1 : -Infinity));
  const low = marks[0];
  const high = marks[marks.length - 1];
  const left = 12 + CHARACTER * Math.max(...marks.map((one) => format(one).length));
  const inner = { left, width: width - left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const y = (value) => EDGE.top + inner.height * (1 - (value - low) / (high - low));
  const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const mark of marks) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - EDGE.right, y1: y(mark), y2: y(mark) }));
    svg.append(draw("text", { x: left - 6, y: y(mark) + 4, "text-anchor": "end" }, format(mark)));
  }
  return { svg, inner, y, low };
}

function addPeriods(svg, points, inner, x) {
  const shown = labelled(points, inner.width);
  points.forEach((one, at) => {
    if (shown[at]) svg.append(draw("text", { x: x(at), y: HEIGHT - EDGE.bottom + 18, "text-anchor": "middle" }, one.period));
  });
  svg.append(draw("text", { x: inner.left + inner.width / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "period"));
}

function describe(label, points, format) {
  const known = points.filter((one) => one.value !== null);
  const [first, last] = [known[0], known[known.length - 1]];
  return `${label}, periods ${first.period} to ${last.period}: from ${format(first.value)} to ${format(last.value)}.`;
}

export function lineChart(host, label, points, mean, format) {
  const { svg, inner, y } = frame(host, describe(label, points, format), points, plain, false);
  const step = inner.width / Math.max(1, points.length - 1);
  const x = (at) => inner.left + (points.length === 1 ? inner.width / 2 : at * step);
  if (mean !== null && points.length > 1) {
    svg.append(draw("line", { class: "mean", x1: inner.left, x2: inner.left + inner.width, y1: y(mean), y2: y(mean) }));
  }
  let path = "";
  let connected = false;
  points.forEach((one, at) => {
    if (one.value !== null) path += `${connected ? "L" : "M"}${x(at).toFixed(1)} ${y(one.value).toFixed(1)}`;
    connected = one.value !== null;
  });
  svg.append(draw("path", { class: "series", d: path }));
  points.forEach((one, at) => {
    if (one.value === null) return;
    const dot = draw("circle", { class: "dot", cx: x(at), cy: y(one.value), r: points.length > 60 ? 2.5 : 4.5 });
    dot.append(draw("title", {}, `period ${one.period}: ${format(one.value)}`));
    svg.append(dot);
  });
  addPeriods(svg, points, inner, x);
  host.replaceChildren(svg);
}

export function barChart(host, label, points, format) {
  const { svg, inner, y, low } = frame(host, describe(label, points, format), points, format, true);
  const step = inner.width / points.length;
  const x = (at) => inner.left + (at + 0.5) * step;
  const thickness = Math.min(48, step * 0.7);
  points.forEach((one, at) => {
    const height = Math.max(0, y(low) - y(one.value));
    const bar = draw("rect", { class: "bar", x: x(at) - thickness / 2, y: y(one.value), width: thickness, height });
    bar.append(draw("title", {}, `period ${one.period}: ${format(one.value)}`));
    svg.append(bar);
  });
  addPeriods(svg, points, inner, x);
  host.replaceChildren(svg);
}

export function valueTable(columns, rows) {
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const [first, ...rest] of rows) {
    const row = body.insertRow();
    const cell = document.createElement("th");
    cell.scope = "row";
    cell.textContent = first;
    row.append(cell);
    for (const value of rest) row.insertCell().textContent = value;
  }
  return table;
}
