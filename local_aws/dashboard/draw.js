// What all others use. Every text comes from the data, which may hold anything: it is only ever set as text.

const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// The charting library reads some HTML in its texts.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const phone = matchMedia("(max-width: 760px)"); // as in page.css

// ---- Numbers and times

const number = (value) => {
  const size = Math.abs(value);
  const format = (options) => new Intl.NumberFormat("en", options).format(value);
  if (size >= 1e6) return format({ notation: "compact", maximumSignificantDigits: 4 });
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return format({ minimumFractionDigits: size < 1 ? 0 : digits, maximumFractionDigits: digits });
};
const day = (second) => new Date(second * 1000).toISOString().slice(0, 10);
const clock = (second) => new Date(second * 1000).toISOString().slice(11, 19);
const last = (list) => list[list.length - 1];

// ---- Colors

const PALETTE = [
  "#3b7ddd", "#f08c2e", "#2fa36b", "#8e63ce", "#14a3b8", "#d8589f", "#d4a017", "#d9534f", "#7ba428", "#5b6ee1",
  "#0f8f83", "#b8703a", "#a33fb0", "#4aa3df", "#e2725b", "#5a9e4b", "#9a8478", "#c43c6e", "#6f7f95", "#a3a01e",
];
const OF_STATUS = {
  1: ["#6f7f95"], 2: ["#2fa36b", "#7ba428", "#0f8f83"], 3: ["#3b7ddd", "#4aa3df"],
  4: ["#f08c2e", "#d4a017", "#b8703a"], 5: ["#d9534f", "#a33fb0", "#c43c6e"],
};
const places = new Map(); // label → place in the palette: the same series looks the same in all widgets

// A series has its own color, or that of its kind of status code, or the next that its widget does not have yet.
const colorsOf = (content) => {
  const taken = new Set(content.series.map((series) => series.color));
  const free = (list, from) => {
    const step = list.findIndex((_, at) => !taken.has(list[(from + at) % list.length]));
    return list[(from + Math.max(step, 0)) % list.length];
  };
  return content.series.map(({ color: own, label }) => {
    if (own) return own;
    const status = /^([1-5])\d\d$/.exec(label);
    if (!status && !places.has(label)) places.set(label, places.size);
    const color = status ? free(OF_STATUS[status[1]], 0) : free(PALETTE, places.get(label) % PALETTE.length);
    taken.add(color);
    return color;
  });
};
const faded = (color, alpha) => (/^#[0-9a-f]{6}$/i.test(color) ? color + alpha : color);
const swatch = (color) => {
  const element = make("i", { className: "swatch" });
  element.style.setProperty("--color", color);
  return element;
};
