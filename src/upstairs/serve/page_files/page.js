// The page's script: lists the models, sends pasted rows, draws what comes back. Nothing is stored, nothing is loaded elsewhere.
"use strict";

const at = (selector) => document.querySelector(selector);
const MOST_DRAWN = 40;
let models = [], model = null, token = "";

// Asking.

async function ask(path, body) {
  const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { "Content-Type": "application/json" }) };
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  const told = await answer.json();
  if (answer.status === 401) at("#token-form").hidden = false;
  if (!answer.ok) throw new Error(told.detail);
  return told;
}

async function listModels() {
  try {
    models = (await ask("v1/models")).models;
  } catch (error) {
    return;  // the form for a token is shown, and says why
  }
  at("#token-form").hidden = true;
  at("#empty").hidden = models.length > 0;
  at("#models").replaceChildren(...models.map((one) => {
    const button = element("button", { type: "button" }, one.name);
    button.addEventListener("click", () => choose(one));
    return button;
  }));
  if (models.length) choose(models[0]);
}

function choose(one) {
  model = one;
  for (const button of at("#models").children) button.setAttribute("aria-pressed", button.textContent === one.name);
  const names = one.columns.map((column) => column.name);
  at("#about").replaceChildren(
    "Predicts ", element("b", {}, one.target), one.classes ? ` (${one.classes.join(", ")})` : "", " from ",
    element("b", {}, names.join(", ")), one.task ? `, by ${one.task}` : "",
    `. ${one.known_tasks.toLocaleString("en")} tasks of its fit are known. Version ${one.version}.`, one.note ? ` ${one.note}` : "",
  );
  at(".target").textContent = one.target;
  at("#support").placeholder = [[...names, one.target], one.columns.map(sample).concat(one.classes ? one.classes[0] : "10.5")]
    .map((row) => row.join("\t")).join("\n");
  at("#query").placeholder = [names, one.columns.map(sample)].map((row) => row.join("\t")).join("\n");
  at("#coverage-label").hidden = one.classes !== null;
  at("#model").hidden = false;
  at("#answer").hidden = at("#problem").hidden = true;
}

const sample = (column) => ({ number: "1.5", duration: "90", date: "2026-01-31", time: "14:30" })[column.holds] ?? "text";

async function predict(event) {
  event.preventDefault();
  const button = at("button.main");
  button.disabled = true;
  at("#problem").hidden = true;
  try {
    const query = read(at("#query").value), support = read(at("#support").value);
    const body = { query, coverage: Number(at("#coverage").value), novelty: true, ...(support.length && { support }) };
    show(query, await ask(`v1/models/${encodeURIComponent(model.name)}/predict`, body));
  } catch (error) {
    at("#answer").hidden = true;
    at("#problem").textContent = error.message;
    at("#problem").hidden = false;
  }
  button.disabled = false;
}

// Reading what was pasted: JSON, or lines with tabs or commas, the first of which holds names.

function read(text) {
  if (!text.trim()) return [];
  if (text.trim()[0] === "[") return JSON.parse(text);
  const [names, ...rows] = split(text, text.split("\n", 1)[0].includes("\t") ? "\t" : ",");
  const odd = rows.findIndex((row) => row.length !== names.length);
  if (odd >= 0) throw new Error(`Line ${odd + 2} has ${rows[odd].length} values, but the first line has ${names.length} names.`);
  const holds = Object.fromEntries(model.columns.map((column) => [column.name, column.holds]));
  holds[model.target] = model.classes && typeof model.classes[0] === "string" ? "category" : "number";
  return rows.map((row) => Object.fromEntries(row.map((cell, j) => [names[j], value(cell, holds[names[j]])])));
}

function split(text, separator) {
  const rows = [[""]];
  let quoted = false;
  for (const sign of text.trim().replaceAll("\r\n", "\n")) {
    const row = rows.at(-1);
    if (sign === '"') quoted = !quoted;
    else if (sign === separator && !quoted) row.push("");
    else if (sign === "\n" && !quoted) rows.push([""]);
    else row[row.length - 1] += sign;
  }
  return rows.map((row) => row.map((cell) => cell.trim()));
}

function value(cell, holds) {
  if (cell === "") return null;
  const number = Number(cell);
  return (holds === "number" || holds === "duration") && !Number.isNaN(number) ? number : cell;
}

// Showing.

function show(query, answer) {
  const source = {
    support: `adapted to the ${answer.shots === 1 ? "one row" : `${answer.shots} rows`} above`,
    columns: "from the columns alone: no row of this task was given",
  }[answer.based_on];
  at("#answer h2").textContent = `${model.target}, ${source}`;
  const novelty = answer.novelty === undefined ? "" : ` How like the tasks of the fit: p = ${format(answer.novelty)}.`;
  const told = answer.coverage ? `Point: mean. Bar: holds the truth with ${Math.round(100 * answer.coverage)} % probability.` : "Probability of each class.";
  at("#summary").textContent = [told + novelty, ...(answer.warnings ?? [])].join(" ");
  const drawn = Math.min(answer.prediction.length, MOST_DRAWN);
  at("#drawing").replaceChildren(answer.lower ? drawIntervals(answer, drawn) : drawProbabilities(answer, drawn));
  const names = model.columns.map((column) => column.name);
  const extra = answer.lower ? ["lower", "upper"] : [];
  at("#answer table").replaceChildren(
    line("th", ["row", ...names, model.target, ...extra, ...(answer.probability ? Object.keys(answer.probability) : [])]),
    ...query.map((row, i) => line("td", [
      i + 1, ...names.map((name) => row[name] ?? ""), format(answer.prediction[i], 4), ...extra.map((name) => format(answer[name][i], 4)),
      ...Object.values(answer.probability ?? {}).map((column) => column[i].toFixed(3)),
    ], names.length + 1)),
  );
  at("#answer").hidden = false;
  at("#answer").scrollIntoView({ block: "nearest" });
}

const WIDTH = 860, LEFT = 56, RIGHT = 84, STEP = 26;

function drawIntervals(answer, n) {
  const low = Math.min(...answer.lower.slice(0, n)), high = Math.max(...answer.upper.slice(0, n));
  const ticks = ticksBetween(low, high), first = Math.min(low, ticks[0]), last = Math.max(high, ticks.at(-1));
  const x = (y) => LEFT + (WIDTH - LEFT - RIGHT) * (last > first ? (y - first) / (last - first) : 0.5);
  const svg = canvas(n, `Predictions of ${n} rows with intervals`);
  for (const tick of ticks) {
    svg.append(shape("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 4, y2: n * STEP + 4 }),
      shape("text", { x: x(tick), y: n * STEP + 22, "text-anchor": "middle" }, format(tick)));
  }
  for (let i = 0; i < n; i++) {
    const y = STEP * (i + 0.5) + 4;
    svg.append(rowName(i, y), shape("line", { class: "interval", x1: x(answer.lower[i]), x2: x(answer.upper[i]), y1: y, y2: y }),
      shape("circle", { class: "point", cx: x(answer.prediction[i]), cy: y, r: 5 }),
      shape("text", { class: "value", x: WIDTH, y: y + 4, "text-anchor": "end" }, format(answer.prediction[i], 4)));
  }
  return svg;
}

function drawProbabilities(answer, n) {
  const svg = canvas(n, `Probabilities of ${n} rows by class`), classes = Object.keys(answer.probability);
  const width = WIDTH - LEFT - RIGHT;
  for (let i = 0; i < n; i++) {
    const y = STEP * (i + 0.5) + 4;
    let x = LEFT;
    classes.forEach((name, c) => {
      const share = width * answer.probability[name][i];
      const bar = shape("rect", { class: `bar${c % 6}`, x, y: y - 8, width: Math.max(0, share - 1), height: 16, rx: 2 });
      bar.append(shape("title", {}, `${name}: ${format(answer.probability[name][i])}`));
      svg.append(bar);
      x += share;
    });
    svg.append(rowName(i, y), shape("text", { class: "value", x: WIDTH, y: y + 4, "text-anchor": "end" }, String(answer.prediction[i])));
  }
  let x = LEFT;
  classes.forEach((name, c) => {
    svg.append(shape("rect", { class: `bar${c % 6}`, x, y: n * STEP + 12, width: 12, height: 12, rx: 2 }),
      shape("text", { x: x + 18, y: n * STEP + 22 }, name));
    x += 40 + 7 * name.length;
  });
  return svg;
}

const canvas = (n, label) => shape("svg", { viewBox: `0 0 ${WIDTH} ${n * STEP + 30}`, role: "img", "aria-label": label });
const rowName = (i, y) => shape("text", { x: 0, y: y + 4 }, `row ${i + 1}`);

function ticksBetween(low, high) {
  const raw = (high - low || Math.abs(high) || 1) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= raw);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) ticks.push(k * step);
  return ticks.length ? ticks : [low];
}

function format(y, least = 1) {
  if (typeof y !== "number") return String(y);
  return y.toLocaleString("en", { minimumSignificantDigits: least, maximumSignificantDigits: 4, useGrouping: Math.abs(y) >= 10000 });
}

function element(name, attributes, text = "") {
  const made = document.createElement(name);
  for (const [key, given] of Object.entries(attributes)) made.setAttribute(key, given);
  made.textContent = text;
  return made;
}

function shape(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, given] of Object.entries(attributes)) made.setAttribute(key, given);
  made.textContent = text;
  return made;
}

function line(cell, values, answer = -1) {
  const row = document.createElement("tr");
  row.append(...values.map((one, j) => element(cell, j === answer ? { class: "answer" } : {}, typeof one === "string" ? one : String(one))));
  return row;
}

at("#rows").addEventListener("submit", predict);
at("#token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("#token").value.trim();
  listModels();
});
listModels();
