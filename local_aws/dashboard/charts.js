// Charts: lines, pies and gauges, their legends, and looking closer at them.

const DOTS_UP_TO = { series: 6, points: 40 }; // more would hide the lines
const TIP_ROWS = 40;
const SPOKEN = 10; // series whose latest values a screen reader is told
const TICK_PX = 68;
const hidden = new Set(); // "widget number, label" of series switched off

const layoutOf = (more) => ({
  paper_bgcolor: "transparent", plot_bgcolor: "transparent", showlegend: false, autosize: true,
  font: { family: css("--font"), size: 11, color: css("--muted") }, ...more,
});
const CONFIG = { displayModeBar: false, doubleClick: "reset", showTips: false };

// What a chart shows, in words: its title and the latest value of each series.
const spoken = ({ title, series }) => {
  const values = series.slice(0, SPOKEN).map((one) => `${one.label} ${number(last(one.values))}`);
  const more = series.length > SPOKEN ? [`and ${series.length - SPOKEN} more`] : [];
  return `${title || "Chart"}: ${[...values, ...more].join(", ")}`;
};

// The element of a chart: the one that is there already moves on, instead of being made anew.
const chartIn = (body, content, keep) => {
  const element = keep || make("div", { className: "chart" });
  element.dataset.view = content.view;
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", spoken(content));
  body.append(element);
  Object.assign(element, { width: element.clientWidth, height: element.clientHeight });
  sizes.observe(element);
  return element;
};
const ticksFor = (width) => Math.max(2, Math.floor(width / TICK_PX));
const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  const { clientWidth: width, clientHeight: height } = target;
  if (!width || (width === target.width && height === target.height)) return;
  Object.assign(target, { width, height });
  Plotly.relayout(target, { autosize: true, "xaxis.nticks": ticksFor(width) });
}));
const discard = (element) => {
  sizes.unobserve(element);
  Plotly.purge(element);
};

// ---- Lines and areas

const axisOf = (source = {}, more = {}) => ({
  gridcolor: css("--grid"), zeroline: false, fixedrange: true, automargin: true, nticks: 6, rangemode: "tozero",
  exponentformat: "SI", separatethousands: true, tickfont: { color: css("--muted") },
  title: { text: plain(source.label || ""), font: { size: 11, color: css("--muted") }, standoff: 6 },
  autorangeoptions: { minallowed: source.min, maxallowed: source.max }, ...more,
});

const timeAxis = (from, to, width, touch) => ({
  type: "date", range: [from * 1000, to * 1000], fixedrange: touch, showgrid: false, zeroline: false, tickangle: 0,
  nticks: ticksFor(width), tickfont: { color: css("--muted") }, showline: true,
  linecolor: css("--line"), showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid",
  spikecolor: css("--faint"),
  tickformatstops: [
    { dtickrange: [null, 59999], value: "%H:%M:%S" }, { dtickrange: [60000, 86399999], value: "%H:%M" },
    { dtickrange: [86400000, null], value: "%b %d" },
  ],
});

// Lines and bands at values or times, that the dashboard's source asks for.
const marksOf = (content) => {
  const shapes = [], annotations = [];
  for (const [direction, marks] of Object.entries(content.annotations)) {
    const flat = direction === "horizontal";
    const at = (value) => (flat ? value : value * 1000);
    const across = (a, b) => (flat ? { y0: a, y1: b } : { x0: a, x1: b });
    for (const mark of marks) {
      const color = mark.color || css("--bad");
      const yref = mark.axis === "right" ? "y2" : "y";
      const along = flat ? { xref: "paper", x0: 0, x1: 1, yref } : { yref: "paper", y0: 0, y1: 1, xref: "x" };
      const from = at(mark.from);
      shapes.push({ type: "line", ...along, ...across(from, from), line: { color, width: 1.5, dash: "dash" } });
      if (mark.to !== null) {
        const fill = { fillcolor: color, opacity: 0.12, line: { width: 0 } };
        shapes.push({ type: "rect", ...along, ...across(from, at(mark.to)), ...fill });
      }
      if (mark.label) {
        const place = flat ? { xref: "paper", x: 1, xanchor: "right", yref, y: from, yanchor: "top" }
          : { yref: "paper", y: 1, yanchor: "top", xref: "x", x: from, xanchor: "left" };
        annotations.push({ text: plain(mark.label), showarrow: false, font: { color, size: 11 }, ...place });
      }
    }
  }
  return { shapes, annotations };
};

const timeSeries = (body, content, at, keep) => {
  const { series: all, stacked } = content;
  const shades = colorsOf(content);
  const element = chartIn(body, content, keep);
  // A lone series needs no name of its own only where the title is its name.
  if (content.legend !== "hidden" && (all.length > 1 || all[0].label !== content.title)) {
    body.append(legendOf(content, shades, at, element));
    body.classList.toggle("beside", content.legend === "right");
  }
  const dotted = !stacked && all.length <= DOTS_UP_TO.series && all[0].times.length <= DOTS_UP_TO.points;
  const fillOf = (series, shade) => {
    if (stacked) return { stackgroup: series.axis, fillcolor: faded(shade, "b0") };
    return all.length === 1 ? { fill: "tozeroy", fillcolor: faded(shade, "1c") } : {};
  };
  const traces = all.map((series, place) => ({
    type: "scatter", x: series.times.map((second) => second * 1000), y: series.values, hoverinfo: "none",
    visible: !hidden.has(keyOf(at, series)), yaxis: series.axis === "right" ? "y2" : "y",
    mode: dotted || series.times.length < 3 ? "lines+markers" : "lines",
    line: { color: shades[place], width: stacked ? 1 : 1.8 }, cliponaxis: false,
    marker: { color: shades[place], size: series.times.length < 3 ? 8 : 4 }, ...fillOf(series, shades[place]),
  }));
  const right = all.some((series) => series.axis === "right");
  const left = all.some((series) => series.axis !== "right");
  // A point stands at the begin of its period, which may be before the time that is shown.
  const from = Math.min(data.from, ...all.map((series) => series.times[0]));
  const touch = matchMedia("(pointer: coarse)").matches;
  Object.assign(element, { content, shades, home: [from * 1000, data.to * 1000] });
  Plotly.react(element, traces, layoutOf({
    margin: { l: 34, r: right ? 34 : 8, t: 6, b: 24 }, hovermode: "x", hoverdistance: 40,
    dragmode: touch ? false : "zoom", xaxis: timeAxis(from, data.to, element.width, touch),
    yaxis: axisOf(content.axes.left, { visible: left }),
    ...(right ? { yaxis2: axisOf(content.axes.right, { overlaying: "y", side: "right", showgrid: false, tickmode: "auto" }) } : {}),
    ...marksOf(content),
  }), CONFIG);
  if (!keep) listen(element);
};

// ---- Shares and levels

const pie = (body, content, at, keep) => {
  const shades = colorsOf(content);
  const values = content.series.map((series) => last(series.values));
  const element = chartIn(body, content, keep);
  const rows = content.series.map(({ label }, place) => make(
    "div", { title: label }, swatch(shades[place]), make("span", { textContent: `${label}  ${number(values[place])}` }),
  ));
  body.append(make("div", { className: "legend" }, ...rows));
  body.classList.add("beside");
  Plotly.react(element, [{
    type: "pie", values, labels: values.map((_, place) => String(place)), sort: false, hole: 0.55, hoverinfo: "none",
    textinfo: "percent", textposition: "inside", marker: { colors: shades, line: { color: css("--card"), width: 2 } },
  }], layoutOf({ margin: { l: 8, r: 8, t: 8, b: 8 } }), CONFIG);
};

const gauge = (body, content, at, keep) => {
  const value = last(content.series[0].values);
  const { min = 0, max = Math.max(value, 1) } = content.axes.left || {};
  Plotly.react(chartIn(body, content, keep), [{
    type: "indicator", mode: "gauge+number", value, number: { font: { color: css("--text"), size: 30 } },
    gauge: { axis: { range: [min, max] }, bar: { color: colorsOf(content)[0] }, borderwidth: 0, bgcolor: css("--grid") },
  }], layoutOf({ margin: { l: 24, r: 24, t: 16, b: 8 } }), CONFIG);
};

// ---- Legends: a click switches a series, a double click leaves it alone on the chart

const keyOf = (at, series) => JSON.stringify([at, series.label]);
const legendOf = (content, shades, at, element) => {
  const keys = content.series.map((series) => keyOf(at, series));
  const buttons = content.series.map(({ label }, place) => make(
    "button", { type: "button", title: `${label} (double-click: this one alone)` },
    swatch(shades[place]), make("span", { textContent: label }),
  ));
  const mark = () => buttons.forEach((button, place) => {
    button.setAttribute("aria-pressed", String(!hidden.has(keys[place])));
  });
  const update = () => {
    mark();
    Plotly.restyle(element, { visible: keys.map((key) => !hidden.has(key)) });
  };
  buttons.forEach((button, place) => {
    button.addEventListener("click", () => {
      if (!hidden.delete(keys[place])) hidden.add(keys[place]);
      update();
    });
    button.addEventListener("dblclick", () => {
      const alone = keys.every((key, other) => other === place || hidden.has(key));
      keys.forEach((key, other) => (alone || other === place ? hidden.delete(key) : hidden.add(key)));
      update();
    });
  });
  mark();
  return make("div", { className: "legend" }, ...buttons);
};

// ---- Looking closer: all values at one time; a zoom holds for all charts

const listen = (element) => {
  element.on("plotly_hover", ({ points, event }) => {
    // The library gives the time as text, in UTC.
    const second = Math.round(Date.parse(`${points[0].x}Z`.replace(" ", "T")) / 1000);
    const { content, shades } = element;
    const rows = content.series
      .map(({ label, times, values }, place) => ({ label, color: shades[place], value: values[times.indexOf(second)] }))
      .filter((row, place) => row.value !== undefined && element.data[place].visible !== false)
      .sort((a, b) => b.value - a.value);
    const cells = rows.slice(0, TIP_ROWS).flatMap(({ label, color, value }) => (
      [swatch(color), make("span", { textContent: label }), make("b", { textContent: number(value) })]
    ));
    const note = (text) => make("div", { className: "when", textContent: text });
    $("tip").replaceChildren(
      note(`${day(second)} ${clock(second)} UTC`),
      make("div", { className: rows.length > 14 && !phone.matches ? "rows two" : "rows" }, ...cells),
      ...(rows.length > TIP_ROWS ? [note(`and ${rows.length - TIP_ROWS} more`)] : []),
    );
    placeTip(event.clientX, event.clientY);
  });
  element.on("plotly_unhover", () => { $("tip").hidden = true; });
  element.on("plotly_relayout", (change) => {
    if (element.following || !("xaxis.range[0]" in change)) return;
    const range = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    const isHome = range.every((end, side) => new Date(end).valueOf() === new Date(element.home[side]).valueOf());
    document.querySelectorAll('.chart[data-view="timeSeries"]').forEach((other) => {
      if (other === element) return;
      other.following = true;
      Plotly.relayout(other, { "xaxis.range": isHome ? other.home.slice() : range.slice() })
        .then(() => { other.following = false; });
    });
  });
};
const placeTip = (x, y) => {
  const tip = $("tip");
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(y + 16, innerHeight - height - 8))}px`;
};
