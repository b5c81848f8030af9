// Widgets: what each view looks like, and when it is drawn anew.

// ---- Values

const singleValue = (body, content) => {
  const shades = colorsOf(content);
  const many = content.series.length > 1;
  body.append(make("div", { className: "values" }, ...content.series.map(({ label, times, values }, place) => {
    const text = make("b", { textContent: number(last(values)) });
    if (many) text.style.color = shades[place];
    const caption = label === content.title ? [] : [make("span", { textContent: label })];
    return make("div", { className: "value", title: `${last(values)} at ${clock(last(times))} UTC` }, text, ...caption);
  })));
  if (content.sparkline && content.series[0].values.length > 1) body.append(sparkline(content.series[0], shades[0]));
};

const sparkline = ({ times, values }, color) => {
  const make = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    return element;
  };
  const most = Math.max(...values, 0) || 1;
  const x = (second) => (100 * (second - times[0])) / (last(times) - times[0]);
  const line = values.map((value, at) => `${x(times[at])},${30 - (28 * Math.max(value, 0)) / most}`).join("L");
  const frame = { viewBox: "0 0 100 30", preserveAspectRatio: "none", class: "spark", "aria-hidden": "true" };
  const svg = make("svg", frame);
  svg.append(
    make("path", { d: `M0,30L${line}L100,30Z`, fill: faded(color, "1f"), stroke: "none" }),
    make("path", { d: `M${line}`, fill: "none", stroke: color, "stroke-width": 1.5 }),
  );
  return svg;
};

const bar = (body, content) => {
  const shades = colorsOf(content);
  const most = Math.max(...content.series.map(({ values }) => Math.abs(last(values)))) || 1;
  body.append(make("div", { className: "bars" }, ...content.series.map(({ label, values }, place) => {
    const fill = make("i");
    fill.style.setProperty("--share", `${(100 * Math.abs(last(values))) / most}%`);
    fill.style.setProperty("--color", shades[place]);
    return make(
      "div", { className: "bar", title: label }, make("span", { className: "name", textContent: label }),
      make("span", { className: "number", textContent: number(last(values)) }), make("div", { className: "track" }, fill),
    );
  })));
};

// ---- Tables: a click on a column's head sorts by it

const WORD = 24; // characters that a column has room for before a word in it is broken
// Where a name may be wrapped: after its separators.
const partsOf = (text) => text.split(/(?<=[/_.,:;=&?|(-])/);
const wrappable = (text) => partsOf(text).flatMap((part, at) => (at ? [make("wbr"), part] : [part]));

// A table's columns hold texts, or numbers where they hold nothing else: but never those of `names`.
const tableOf = (columns, rows, names) => {
  const numeric = columns.map((column, at) => (
    !names.includes(column) && rows.some((row) => row[at] !== "")
    && rows.every((row) => Number.isFinite(Number(row[at])))
  ));
  const cellOf = (text, at) => make(
    "td", { className: numeric[at] ? "number" : "", title: text },
    ...(numeric[at] ? [text === "" ? "" : number(Number(text))] : wrappable(text)),
  );
  const longestWord = (at) => rows.reduce((most, row) => (
    partsOf(row[at]).flatMap((part) => part.split(/\s/)).reduce((longest, word) => Math.max(longest, word.length), most)
  ), 0);
  const linesOf = (sorted) => sorted.map((row) => make("tr", {}, ...row.map(cellOf)));
  const content = make("tbody", {}, ...linesOf(rows));
  let order = { at: null, sign: 1 };
  const heads = columns.map((column, at) => {
    const button = make("button", { type: "button", textContent: column, title: "Sort" });
    button.addEventListener("click", () => {
      order = { at, sign: order.at === at ? -order.sign : numeric[at] ? -1 : 1 };
      const compare = numeric[at] ? (a, b) => Number(a[at]) - Number(b[at]) : (a, b) => a[at].localeCompare(b[at]);
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      heads[at].setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
      content.replaceChildren(...linesOf([...rows].sort((a, b) => order.sign * compare(a, b))));
    });
    const head = make("th", { className: numeric[at] ? "number" : "", scope: "col" }, button);
    if (!numeric[at]) head.style.setProperty("--word", `${Math.min(longestWord(at), WORD)}ch`);
    return head;
  });
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), content);
  return fadingAtEdges(make("div", { className: "scroll", tabIndex: 0 }, table));
};

// What goes on beyond an edge fades out there.
const fadingAtEdges = (scroll) => {
  const update = () => {
    const { scrollLeft, scrollWidth, clientWidth } = scroll;
    scroll.classList.toggle("more-left", scrollLeft > 1);
    scroll.classList.toggle("more-right", scrollWidth - clientWidth - scrollLeft > 1);
  };
  scroll.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(scroll);
  return scroll;
};

const logTable = (body, content) => body.append(tableOf(content.columns, content.rows, content.names));

const SUMMARIES = {
  MIN: ["Minimum", (values) => values.reduce((a, b) => Math.min(a, b))],
  AVG: ["Average", (values) => values.reduce((a, b) => a + b) / values.length],
  MAX: ["Maximum", (values) => values.reduce((a, b) => Math.max(a, b))],
  SUM: ["Sum", (values) => values.reduce((a, b) => a + b)],
};
const table = (body, content) => {
  const chosen = (content.table.summaryColumns || ["MIN", "AVG", "MAX"]).filter((name) => name in SUMMARIES);
  const rows = content.series.map(({ label, values }) => (
    [label, ...[...chosen.map((name) => SUMMARIES[name][1](values)), last(values)].map(String)]
  ));
  body.append(tableOf(["Series", ...chosen.map((name) => SUMMARIES[name][0]), "Latest"], rows, ["Series"]));
};

// ---- Texts

const text = (body, content) => {
  // Made from Markdown, with all HTML in it escaped (text.py).
  const element = make("div", { className: "text", innerHTML: content.html });
  element.querySelectorAll("a").forEach((link) => Object.assign(link, { target: "_blank", rel: "noopener noreferrer" }));
  body.append(element);
};

const error = (body, content) => body.append(make("p", { className: "error", textContent: content.message }));

// ---- All of them

const VIEWS = { timeSeries, pie, gauge, singleValue, bar, table, logTable, text, error };
const GRAPHS = ["timeSeries", "pie", "gauge"];
const sections = []; // of each widget
const drawn = []; // of each widget: what it shows, as JSON, so that what stays the same is left alone

const placeWidgets = () => {
  const order = data.widgets.map((place, at) => ({ ...place, at })).sort((a, b) => a.y - b.y || a.x - b.x);
  $("grid").append(...order.map(({ x, y, width, height, at }) => {
    sections[at] = make("section", { className: "widget" });
    sections[at].style.gridArea = `${y + 1} / ${x + 1} / span ${height} / span ${width}`;
    return sections[at];
  }));
};

const drawWidgets = () => {
  sections.forEach((section, at) => {
    const content = data.contents[selection.contents[at]];
    const shown = JSON.stringify([content, data.from, data.to]);
    if (drawn[at] !== shown) drawWidget(section, content, at);
    drawn[at] = shown;
  });
};

const redraw = () => {
  drawn.length = 0;
  drawWidgets();
};

const drawWidget = (section, content, at) => {
  const isEmpty = (content.series || content.rows || [1]).length === 0;
  const kinds = { tile: content.view === "singleValue", graph: GRAPHS.includes(content.view), transparent: content.transparent };
  section.className = ["widget", ...Object.keys(kinds).filter((kind) => kinds[kind])].join(" ");
  section.dataset.view = content.view;
  section.dataset.state = content.view === "error" ? "error" : isEmpty ? "empty" : "data";
  const old = section.querySelector(".chart");
  const keep = old && old.dataset.view === content.view && !isEmpty ? old : null;
  if (old && !keep) discard(old);
  const body = make("div", { className: "content" });
  section.replaceChildren(
    ...(content.title ? [make("h2", { textContent: content.title })] : []),
    ...(content.notes.length ? [make("p", { className: "notes", textContent: content.notes.join(" · ") })] : []),
    body,
  );
  if (isEmpty) body.append(make("p", { className: "nothing", textContent: "No data in this time" }));
  else VIEWS[content.view](body, content, at, keep);
};
