// Draws a snapshot. Every text comes from the data, which may hold anything: it is only ever set as text.
"use strict";
(() => {
  const PALETTE = [
    "#3b7ddd", "#f08c2e", "#2fa36b", "#d9534f", "#8e63ce", "#14a3b8", "#d4a017", "#d8589f", "#7ba428", "#5b6ee1",
    "#0f8f83", "#b8703a", "#a33fb0", "#4aa3df", "#e2725b", "#5a9e4b", "#9a8478", "#c43c6e", "#6f7f95", "#a3a01e",
  ];
  const POLL_MS = 1500;
  const DOTS_UP_TO = { series: 6, points: 80 }; // more would hide the lines
  const TIP_ROWS = 40;
  const THEMES = ["auto", "light", "dark"];

  const $ = (id) => document.getElementById(id);
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // The charting library reads some HTML in its texts.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  let data = JSON.parse($("data").textContent);
  let live = data.live;
  let selection = data.selections[0];
  const drawn = []; // of each widget: what it shows, as JSON, so that what stays the same is left alone
  const charts = new Set(); // elements that hold a chart
  const hidden = new Set(); // "widget number, label" of series switched off
  const colors = new Map(); // label → place in the palette: the same series looks the same in all widgets

  // ---- Numbers and times

  const number = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 }).format(value);
    const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    return new Intl.NumberFormat("en", { minimumFractionDigits: size < 1 ? 0 : digits, maximumFractionDigits: digits }).format(value);
  };
  const clock = (second) => new Date(second * 1000).toISOString().slice(11, 19);
  const day = (second) => new Date(second * 1000).toISOString().slice(0, 10);
  const last = (series) => series.values[series.values.length - 1];

  // ---- The frame

  const storage = {
    get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("theme", value); } catch { /* a page without storage forgets it */ } },
  };
  const darkMode = matchMedia("(prefers-color-scheme: dark)");
  const asked = new URLSearchParams(location.search).get("theme");
  let theme = [asked, storage.get()].find((name) => THEMES.includes(name)) || "auto";
  const setTheme = () => {
    document.documentElement.dataset.theme = theme === "auto" ? (darkMode.matches ? "dark" : "light") : theme;
    $("theme").textContent = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme];
    $("theme").title = "Light, dark, or as the system has it";
  };
  $("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    storage.set(theme);
    setTheme();
    redraw();
  });
  darkMode.addEventListener("change", () => { setTheme(); redraw(); });

  const drawHeading = () => {
    $("name").textContent = data.name;
    const sameDay = day(data.from) === day(data.to);
    $("time").textContent = `${day(data.from)} ${clock(data.from)} – ${sameDay ? "" : day(data.to) + " "}${clock(data.to)} UTC`;
  };

  // Other variables may have to change, too, where the page does not hold this combination.
  const choose = (id, value) => {
    const wanted = { ...selection.values, [id]: value };
    if (live) { refresh(wanted); return; }
    const fits = (other) => Object.entries(wanted).filter(([name, v]) => other.values[name] === v).length;
    const candidates = data.selections.filter((other) => other.values[id] === value);
    if (!candidates.length) return;
    selection = candidates.reduce((best, other) => (fits(other) > fits(best) ? other : best));
    drawVariables();
    drawWidgets();
  };
  const drawVariables = () => {
    if ($("variables").contains(document.activeElement) && document.activeElement.type === "text") return;
    const focused = document.activeElement && document.activeElement.id;
    $("variables").replaceChildren(...data.variables.filter((variable) => variable.visible).map((variable) => {
      const value = selection.values[variable.id] ?? "";
      const held = (choice) => live || data.selections.some((other) => other.values[variable.id] === choice.value);
      const name = make("span", { className: "name", textContent: variable.label });
      const choices = [...variable.choices];
      if (variable.inputType !== "input" && value !== "" && !choices.some((choice) => choice.value === value)) {
        choices.unshift({ value, label: value });
      }
      if (variable.inputType === "select") {
        const select = make("select", { id: `variable-${variable.id}` }, ...choices.map((choice) => make("option", {
          value: choice.value, textContent: choice.label, selected: choice.value === value, disabled: !held(choice),
        })));
        select.addEventListener("change", () => choose(variable.id, select.value));
        return make("label", {}, name, select);
      }
      if (variable.inputType === "radio") {
        return make("fieldset", {}, name, make("div", { className: "choices" }, ...choices.map((choice, at) => {
          const input = make("input", {
            type: "radio", name: variable.id, id: `variable-${variable.id}-${at}`, checked: choice.value === value, disabled: !held(choice),
          });
          input.addEventListener("change", () => choose(variable.id, choice.value));
          return make("label", {}, input, choice.label);
        })));
      }
      const input = make("input", { type: "text", id: `variable-${variable.id}`, value, readOnly: !live });
      input.addEventListener("change", () => choose(variable.id, input.value));
      return make("label", {}, name, input);
    }));
    if (focused && $(focused)) $(focused).focus();
  };

  // ---- Widgets

  const drawWidgets = () => {
    const grid = $("grid");
    data.widgets.forEach((place, at) => {
      const content = data.contents[selection.contents[at]];
      const text = JSON.stringify([content, data.from, data.to]);
      if (drawn[at] === text) return;
      drawn[at] = text;
      let section = grid.children[at];
      if (!section) {
        section = grid.appendChild(make("section"));
        section.style.gridColumn = `${place.x + 1} / span ${place.width}`;
        section.style.gridRow = `${place.y + 1} / span ${place.height}`;
      }
      drawWidget(section, content, at);
    });
    const order = data.widgets.map((place, at) => [place.y, place.x, at]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    order.forEach(([, , at], place) => { grid.children[at].style.order = place; });
  };

  const drawWidget = (section, content, at) => {
    const old = section.querySelector(".chart");
    const draw = VIEWS[content.view];
    const isEmpty = content.series ? !content.series.length : content.rows ? !content.rows.length : false;
    const chartOnly = ["timeSeries", "pie", "gauge"].includes(content.view);
    section.className = "widget";
    if (content.view === "singleValue") section.classList.add("tile");
    if (chartOnly) section.classList.add("graph");
    if (content.transparent) section.classList.add("transparent");
    section.dataset.view = content.view;
    section.dataset.state = content.view === "error" ? "error" : isEmpty ? "empty" : "data";
    // A chart that is there already moves on, instead of being made anew.
    const keep = old && old.dataset.view === content.view && !isEmpty ? old : null;
    if (old && !keep) { Plotly.purge(old); charts.delete(old); }
    const body = make("div", { className: "content" });
    const parts = [body];
    if (content.notes.length) parts.unshift(make("p", { className: "notes", textContent: content.notes.join(" · ") }));
    if (content.title) parts.unshift(make("h2", { textContent: content.title }));
    section.replaceChildren(...parts);
    if (isEmpty) body.append(make("p", { className: "nothing", textContent: "No data in this time" }));
    else draw(body, content, at, keep);
  };

  const colorOf = (content) => {
    const taken = new Set();
    return content.series.map((series) => {
      if (series.color) return series.color;
      if (!colors.has(series.label)) colors.set(series.label, colors.size);
      let place = colors.get(series.label);
      for (let tries = 0; taken.has(place % PALETTE.length) && tries < PALETTE.length; tries += 1) place += 1;
      taken.add(place % PALETTE.length);
      return PALETTE[place % PALETTE.length];
    });
  };

  const drawLegend = (content, shades, at, element) => {
    const legend = make("div", { className: "legend" });
    const key = (series) => JSON.stringify([at, series.label]);
    const update = () => {
      [...legend.children].forEach((button, place) => {
        button.setAttribute("aria-pressed", String(!hidden.has(key(content.series[place]))));
      });
      Plotly.restyle(element, { visible: content.series.map((series) => !hidden.has(key(series))) });
    };
    legend.append(...content.series.map((series, place) => {
      const swatch = make("span", { className: "swatch" });
      swatch.style.setProperty("--color", shades[place]);
      const button = make("button", { type: "button", title: `${series.label} (double-click: this one alone)` },
        swatch, make("span", { textContent: series.label }));
      button.setAttribute("aria-pressed", String(!hidden.has(key(series))));
      button.addEventListener("click", () => {
        if (!hidden.delete(key(series))) hidden.add(key(series));
        update();
      });
      button.addEventListener("dblclick", () => {
        const alone = content.series.every((other) => other === series || hidden.has(key(other)));
        content.series.forEach((other) => (alone || other === series ? hidden.delete(key(other)) : hidden.add(key(other))));
        update();
      });
      return button;
    }));
    return { legend, visible: content.series.map((series) => !hidden.has(key(series))) };
  };

  // ---- Views

  const axisOf = (source = {}, name, from) => ({
    gridcolor: css("--grid"), zeroline: false, fixedrange: true, automargin: true, nticks: 6, tickfont: { color: css("--muted") },
    rangemode: "tozero", exponentformat: "SI", separatethousands: true,
    title: source.label ? { text: plain(source.label), font: { size: 11, color: css("--muted") }, standoff: 6 } : undefined,
    ...(source.min !== undefined || source.max !== undefined
      ? { autorangeoptions: { minallowed: source.min, maxallowed: source.max } } : {}),
    ...(name === "right" ? { overlaying: "y", side: "right", showgrid: false } : {}),
    ...(from ? {} : { visible: false }),
  });

  const marksOf = (content) => {
    const shapes = [], annotations = [];
    for (const [direction, marks] of Object.entries(content.annotations)) {
      for (const mark of marks) {
        const flat = direction === "horizontal";
        const color = mark.color || css("--bad");
        const at = (value) => (flat ? value : value * 1000);
        const axis = mark.axis === "right" ? "y2" : "y";
        const along = flat ? { xref: "paper", x0: 0, x1: 1, yref: axis } : { yref: "paper", y0: 0, y1: 1, xref: "x" };
        const across = (a, b) => (flat ? { y0: a, y1: b } : { x0: a, x1: b });
        shapes.push({ type: "line", ...along, ...across(at(mark.from), at(mark.from)), line: { color, width: 1.5, dash: "dash" } });
        if (mark.to !== null) {
          shapes.push({ type: "rect", ...along, ...across(at(mark.from), at(mark.to)), fillcolor: color, opacity: 0.12, line: { width: 0 } });
        }
        if (mark.label) {
          annotations.push({
            text: plain(mark.label), showarrow: false, font: { color, size: 11 },
            ...(flat ? { xref: "paper", x: 1, xanchor: "right", yref: axis, y: mark.from, yanchor: "bottom" }
              : { yref: "paper", y: 1, yanchor: "top", xref: "x", x: at(mark.from), xanchor: "left" }),
          });
        }
      }
    }
    return { shapes, annotations };
  };

  const layoutOf = (more) => ({
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", showlegend: false, autosize: true,
    font: { family: css("--font"), size: 11, color: css("--muted") }, ...more,
  });
  const config = { displayModeBar: false, responsive: true, doubleClick: "reset", showTips: false };

  const chartIn = (body, view, keep) => {
    const element = keep || make("div", { className: "chart" });
    element.dataset.view = view;
    body.append(element);
    charts.add(element);
    return element;
  };

  const VIEWS = {
    timeSeries(body, content, at, keep) {
      const shades = colorOf(content);
      const element = chartIn(body, content.view, keep);
      const { legend, visible } = drawLegend(content, shades, at, element);
      if (content.legend !== "hidden" && (content.series.length > 1 || !content.title)) body.append(legend);
      if (content.legend === "right") body.classList.add("beside");
      const dotted = !content.stacked && content.series.length <= DOTS_UP_TO.series && content.series[0].times.length <= DOTS_UP_TO.points;
      const traces = content.series.map((series, place) => ({
        type: "scatter", x: series.times.map((second) => second * 1000), y: series.values, visible: visible[place],
        mode: dotted || series.times.length < 3 ? "lines+markers" : "lines", hoverinfo: "none",
        line: { color: shades[place], width: content.stacked ? 1 : 1.8 }, marker: { color: shades[place], size: 4 },
        yaxis: series.axis === "right" ? "y2" : "y",
        ...(content.stacked ? { stackgroup: series.axis, fillcolor: `${shades[place]}b0` }
          : content.series.length === 1 ? { fill: "tozeroy", fillcolor: `${shades[place]}1c` } : {}),
      }));
      const right = content.series.some((series) => series.axis === "right");
      // A point stands at the begin of its period, which may be before the time that is shown.
      const begin = Math.min(data.from, ...content.series.map((series) => series.times[0]));
      const touch = matchMedia("(pointer: coarse)").matches;
      Plotly.react(element, traces, layoutOf({
        margin: { l: 34, r: right ? 34 : 8, t: 6, b: 24 }, hovermode: "x", hoverdistance: 40, dragmode: touch ? false : "zoom",
        xaxis: {
          type: "date", range: [begin * 1000, data.to * 1000], gridcolor: css("--grid"), showgrid: false, zeroline: false, nticks: 7,
          tickfont: { color: css("--muted") }, showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid",
          spikecolor: css("--faint"), linecolor: css("--line"), showline: true, fixedrange: touch,
          tickformatstops: [
            { dtickrange: [null, 60000], value: "%H:%M:%S" }, { dtickrange: [60000, 86400000], value: "%H:%M" },
            { dtickrange: [86400000, null], value: "%b %d" },
          ],
        },
        yaxis: axisOf(content.axes.left, "left", content.series.some((series) => series.axis !== "right")),
        ...(right ? { yaxis2: axisOf(content.axes.right, "right", true) } : {}),
        ...marksOf(content),
      }), config);
      if (!keep) listen(element);
      element.content = content;
      element.shades = shades;
    },
    singleValue(body, content) {
      const shades = colorOf(content);
      const many = content.series.length > 1;
      body.append(make("div", { className: "values" }, ...content.series.map((series, place) => {
        const value = make("div", { className: "value" }, make("b", { textContent: number(last(series)) }));
        if (series.label !== content.title) value.append(make("span", { textContent: series.label }));
        value.title = `${series.label}: ${last(series)} at ${clock(series.times[series.times.length - 1])} UTC`;
        if (many) value.firstChild.style.color = shades[place];
        return value;
      })));
      if (content.sparkline && content.series[0].values.length > 1) body.append(spark(content.series[0], shades[0]));
    },
    bar(body, content) {
      const shades = colorOf(content);
      const most = Math.max(...content.series.map((series) => Math.abs(last(series)))) || 1;
      body.append(make("div", { className: "bars" }, ...content.series.map((series, place) => {
        const fill = make("i");
        fill.style.setProperty("--share", `${(100 * Math.abs(last(series))) / most}%`);
        fill.style.setProperty("--color", shades[place]);
        return make("div", { className: "bar", title: series.label }, make("span", { className: "name", textContent: series.label }),
          make("span", { className: "number", textContent: number(last(series)) }), make("div", { className: "track" }, fill));
      })));
    },
    pie(body, content, at, keep) {
      const shades = colorOf(content);
      const element = chartIn(body, content.view, keep);
      const { legend } = drawLegend(content, shades, at, element);
      legend.querySelectorAll("button").forEach((button, place) => {
        button.disabled = true;
        button.lastChild.textContent = `${content.series[place].label}  ${number(last(content.series[place]))}`;
      });
      body.append(legend);
      body.classList.add("beside");
      Plotly.react(element, [{
        type: "pie", values: content.series.map(last), labels: content.series.map((_, place) => String(place)), sort: false, hole: 0.55,
        marker: { colors: shades, line: { color: css("--card"), width: 2 } }, textinfo: "percent", textposition: "inside", hoverinfo: "none",
      }], layoutOf({ margin: { l: 8, r: 8, t: 8, b: 8 } }), config);
    },
    gauge(body, content, at, keep) {
      const [series] = content.series;
      const element = chartIn(body, content.view, keep);
      const { min = 0, max } = content.axes.left || {};
      Plotly.react(element, [{
        type: "indicator", mode: "gauge+number", value: last(series),
        number: { font: { color: css("--text"), size: 30 } },
        gauge: { axis: { range: [min, max ?? Math.max(last(series), 1)] }, bar: { color: colorOf(content)[0] }, borderwidth: 0, bgcolor: css("--grid") },
      }], layoutOf({ margin: { l: 24, r: 24, t: 16, b: 8 } }), config);
    },
    table(body, content) {
      const sums = { MIN: (v) => v.reduce((a, b) => Math.min(a, b)), MAX: (v) => v.reduce((a, b) => Math.max(a, b)), SUM: (v) => v.reduce((a, b) => a + b, 0) };
      sums.AVG = (values) => sums.SUM(values) / values.length;
      const names = { MIN: "Minimum", MAX: "Maximum", SUM: "Sum", AVG: "Average" };
      const chosen = (content.table.summaryColumns || ["MIN", "AVG", "MAX"]).filter((column) => sums[column]);
      const rows = content.series.map((series) => [series.label, ...chosen.map((column) => String(sums[column](series.values))), String(last(series))]);
      table(body, ["", ...chosen.map((column) => names[column]), "Latest"], rows);
    },
    logTable(body, content) { table(body, content.columns, content.rows); },
    text(body, content) {
      // Made from Markdown, with all HTML in it escaped (text.py).
      const text = make("div", { className: "text", innerHTML: content.html });
      text.querySelectorAll("a").forEach((link) => Object.assign(link, { target: "_blank", rel: "noopener noreferrer" }));
      body.append(text);
    },
    error(body, content) { body.append(make("p", { className: "error", textContent: content.message })); },
  };

  const spark = (series, color) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const most = Math.max(...series.values), from = series.times[0], length = series.times[series.times.length - 1] - from || 1;
    const points = series.values.map((value, at) => `${(100 * (series.times[at] - from)) / length},${30 - 28 * (most > 0 ? Math.max(value, 0) / most : 0)}`);
    svg.setAttribute("viewBox", "0 0 100 30");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("class", "spark");
    for (const [path, fill, stroke] of [[`M0,30L${points.join("L")}L100,30Z`, `${color}1f`, "none"], [`M${points.join("L")}`, "none", color]]) {
      const element = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
      Object.entries({ d: path, fill, stroke, "stroke-width": 1.5 }).forEach(([name, value]) => element.setAttribute(name, value));
    }
    return svg;
  };

  const table = (body, columns, rows) => {
    const numeric = columns.map((_, at) => rows.some((row) => row[at] !== "") && rows.every((row) => row[at] === "" || Number.isFinite(Number(row[at]))));
    let order = null;
    const filled = () => rows.slice().sort((a, b) => {
      if (!order) return 0;
      const [x, y] = [a[order.at], b[order.at]];
      return order.sign * (numeric[order.at] ? Number(x) - Number(y) : x.localeCompare(y));
    }).map((row) => make("tr", {}, ...row.map((cell, at) => make("td", {
      className: numeric[at] ? "number" : "", textContent: numeric[at] && cell !== "" ? number(Number(cell)) : cell, title: cell,
    }))));
    const content = make("tbody", {}, ...filled());
    const heads = columns.map((column, at) => {
      const button = make("button", { type: "button", textContent: column, title: "Sort" });
      const head = make("th", { className: numeric[at] ? "number" : "", scope: "col" }, button);
      button.addEventListener("click", () => {
        const again = order && order.at === at;
        order = { at, sign: again ? -order.sign : numeric[at] ? -1 : 1 };
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
        content.replaceChildren(...filled());
      });
      return head;
    });
    body.append(make("div", { className: "scroll", tabIndex: 0 }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), content)));
  };

  // ---- Looking closer: all values at one time; a zoom holds for all charts

  const listen = (element) => {
    element.on("plotly_hover", (event) => {
      const second = Math.round(Date.parse(`${String(event.points[0].x).replace(" ", "T")}Z`) / 1000) || Math.round(event.points[0].x / 1000);
      const { content, shades } = element;
      const rows = content.series.map((series, place) => ({ label: series.label, color: shades[place], value: series.values[series.times.indexOf(second)] }))
        .filter((row, place) => row.value !== undefined && element.data[place].visible !== false).sort((a, b) => b.value - a.value);
      const cells = rows.slice(0, TIP_ROWS).flatMap((row) => {
        const swatch = make("i", { className: "swatch" });
        swatch.style.setProperty("--color", row.color);
        return [swatch, make("span", { textContent: row.label }), make("b", { textContent: number(row.value) })];
      });
      const more = rows.length > TIP_ROWS ? [make("div", { className: "when", textContent: `and ${rows.length - TIP_ROWS} more` })] : [];
      $("tip").replaceChildren(make("div", { className: "when", textContent: `${day(second)} ${clock(second)} UTC` }),
        make("div", { className: rows.length > 14 && innerWidth > 760 ? "rows two" : "rows" }, ...cells), ...more);
      showTip(event.event);
    });
    element.on("plotly_unhover", () => { $("tip").hidden = true; });
    element.on("plotly_relayout", (change) => {
      if (element.following) return;
      const range = change["xaxis.range[0]"] ? [change["xaxis.range[0]"], change["xaxis.range[1]"]]
        : change["xaxis.range"] || ("xaxis.autorange" in change ? [data.from * 1000, data.to * 1000] : null);
      if (!range) return;
      charts.forEach((other) => {
        if (other === element || other.dataset.view !== "timeSeries") return;
        other.following = true;
        Plotly.relayout(other, { "xaxis.range": range.slice() }).then(() => { other.following = false; });
      });
    });
  };
  const showTip = ({ clientX, clientY }) => {
    const tip = $("tip");
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = clientX + 16 + width > innerWidth ? clientX - 16 - width : clientX + 16;
    tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(clientY + 16, innerHeight - height - 8))}px`;
  };

  const redraw = () => { drawn.length = 0; drawWidgets(); };

  // ---- While a test runs

  let polling = 0;
  const say = (text, lost = false) => {
    $("state").hidden = !text;
    $("state").textContent = text;
    $("state").classList.toggle("lost", lost);
  };
  const refresh = async (wanted) => {
    const turn = (polling += 1);
    try {
      const response = await fetch(`data?${new URLSearchParams(wanted)}`, { cache: "no-store" });
      const newer = await response.json();
      if (!response.ok) throw new Error(newer.message);
      if (turn !== polling) return; // another choice was made since
      data = newer;
      live = newer.live;
      selection = data.selections[0];
      drawHeading();
      drawVariables();
      drawWidgets();
      say(live ? "● Live" : data.ended || "");
    } catch (error) {
      if (turn !== polling) return;
      say(`No news: ${error.message}`, true);
    }
    if (live) setTimeout(() => { if (turn === polling) refresh(selection.values); }, POLL_MS);
  };

  setTheme();
  drawHeading();
  drawVariables();
  drawWidgets();
  document.documentElement.dataset.drawn = "yes";
  if (live) { say("● Live"); refresh(selection.values); }
})();
