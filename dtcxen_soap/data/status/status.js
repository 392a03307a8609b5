// Keeps the status page up to date: fetches its cells every few seconds and fills them in as text.
// The page says when the node cannot be reached: what it shows is old then.
"use strict";

const news = document.getElementById("news");
const shown = new Map();

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function contents(cell) {
  const text = cell.link ? element("a", {href: cell.link}, cell.text) : element("bdi", {}, cell.text);
  if (cell.percent === undefined) return [text];
  return [text, element("progress", {max: "100", value: String(cell.percent), "aria-label": "done"})];
}

function row(cells, columns) {
  const drawn = element("tr", {role: "row"});
  if (cells.length === 1) {
    drawn.append(element("td", {role: "cell", colspan: String(columns.length), class: cells[0].tone || ""}, ...contents(cells[0])));
    return drawn;
  }
  cells.forEach((cell, n) => drawn.append(element(
    n ? "td" : "th",
    n ? {role: "cell", class: cell.tone || "", "data-of": columns[n]} : {scope: "row", role: "rowheader", class: cell.tone || ""},
    ...contents(cell))));
  return drawn;
}

function fill(name, table) {
  const drawn = document.getElementById(name);
  const text = JSON.stringify(table.rows);
  document.getElementById("seen-" + name).textContent = table.seen;
  if (shown.get(name) === text) return;
  shown.set(name, text);
  const columns = Array.from(drawn.tHead.rows[0].cells, cell => cell.textContent);
  const focused = drawn.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  drawn.tBodies[0].replaceChildren(...table.rows.map(cells => row(cells, columns)));
  if (focused) Array.from(drawn.querySelectorAll("a")).find(link => link.getAttribute("href") === focused)?.focus();
}

async function refresh() {
  let seconds = 10;
  try {
    if (!document.hidden) {
      const reply = await fetch(new URL("/status.json", location.origin), {signal: AbortSignal.timeout(15000), cache: "no-store"});
      if (!reply.ok) throw new Error("the node answers " + reply.status);
      const page = await reply.json();
      for (const [name, table] of Object.entries(page.tables)) fill(name, table);
      news.textContent = "As of " + page.made;
      document.body.classList.remove("old");
      seconds = page.seconds;
    }
  } catch (problem) {
    if (!document.body.classList.contains("old")) {
      news.textContent = "This is old: the node cannot be asked. " + news.textContent;
      document.body.classList.add("old");
    }
  }
  waiting = setTimeout(refresh, 1000 * seconds);
}

let waiting = setTimeout(refresh, 2000);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  clearTimeout(waiting);
  refresh();
});
