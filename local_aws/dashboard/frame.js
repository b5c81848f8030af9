// The frame: what the page begins with, its variables, light and dark, and news while a test runs.

const POLL_MS = 1500;
const THEMES = ["auto", "light", "dark"];

let data = JSON.parse($("data").textContent);
let selection = data.selections[0];

const drawHeading = () => {
  const sameDay = day(data.from) === day(data.to);
  const end = `${sameDay ? "" : `${day(data.to)} `}${clock(data.to)}`;
  $("name").textContent = data.name;
  $("time").textContent = `${day(data.from)} ${clock(data.from)} – ${end} UTC`;
};

// ---- Light and dark

const storage = {
  get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
  set: (value) => { try { localStorage.setItem("theme", value); } catch { /* a page without storage forgets it */ } },
};
const darkMode = matchMedia("(prefers-color-scheme: dark)");
let theme = THEMES.includes(storage.get()) ? storage.get() : "auto";

const setTheme = () => {
  document.documentElement.dataset.theme = theme === "auto" ? (darkMode.matches ? "dark" : "light") : theme;
  $("theme").textContent = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme];
};
$("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  storage.set(theme);
  setTheme();
  redraw();
});
darkMode.addEventListener("change", () => { setTheme(); redraw(); });

// ---- Variables

const choose = (id, value) => {
  const wanted = { ...selection.values, [id]: value };
  if (data.live) { refresh(wanted); return; }
  // The page may not hold this combination; other variables then change, too, as few as possible.
  const fit = (other) => Object.keys(wanted).filter((name) => other.values[name] === wanted[name]).length;
  const candidates = data.selections.filter((other) => other.values[id] === value);
  selection = candidates.reduce((best, other) => (fit(other) > fit(best) ? other : best));
  drawVariables();
  drawWidgets();
};

const drawVariables = () => {
  const active = document.activeElement;
  if ($("variables").contains(active) && active.type === "text") return; // somebody is writing
  const isHeld = (id, value) => data.live || data.selections.some((other) => other.values[id] === value);
  $("variables").replaceChildren(...data.variables.filter(({ visible }) => visible).map((variable) => {
    const value = selection.values[variable.id];
    const isKnown = variable.choices.some((choice) => choice.value === value);
    const choices = [...(isKnown ? [] : [{ value, label: value || "—" }]), ...variable.choices]
      .map((choice, at) => ({ ...choice, id: `variable-${variable.id}-${at}`, disabled: !isHeld(variable.id, choice.value) }));
    return CONTROLS[variable.inputType](variable, value, choices, make("span", { className: "name", textContent: variable.label }));
  }));
  if (active && active.id && $(active.id)) $(active.id).focus();
};

const CONTROLS = {
  select(variable, value, choices, name) {
    const select = make("select", { id: `variable-${variable.id}` }, ...choices.map((choice) => make("option", {
      value: choice.value, textContent: choice.label, selected: choice.value === value, disabled: choice.disabled,
    })));
    select.addEventListener("change", () => choose(variable.id, select.value));
    return make("label", {}, name, select);
  },
  radio(variable, value, choices, name) {
    const labels = choices.map(({ id, value: own, label, disabled }) => {
      const input = make("input", { type: "radio", name: variable.id, id, checked: own === value, disabled });
      input.addEventListener("change", () => choose(variable.id, own));
      return make("label", {}, input, label);
    });
    return make("fieldset", {}, name, make("div", { className: "choices" }, ...labels));
  },
  // Nobody knows all texts: they can only be written where there is somebody to ask.
  input(variable, value, choices, name) {
    const input = make("input", { type: "text", id: `variable-${variable.id}`, value, readOnly: !data.live });
    input.addEventListener("change", () => choose(variable.id, input.value));
    return make("label", {}, name, input);
  },
};

// ---- News while a test runs

let turn = 0; // of asking; an answer to an earlier one is late

const say = (text, isLost = false) => {
  $("state").hidden = !text;
  $("state").textContent = text;
  $("state").classList.toggle("lost", isLost);
};
const refresh = async (wanted) => {
  turn += 1;
  const own = turn;
  try {
    const response = await fetch(`data?${new URLSearchParams(wanted)}`, { cache: "no-store" });
    const newer = await response.json();
    if (!response.ok) throw new Error(newer.message);
    if (own !== turn) return;
    data = newer;
    selection = data.selections[0];
    drawHeading();
    drawVariables();
    drawWidgets();
    say(data.live ? "● Live" : data.ended);
  } catch (error) {
    if (own === turn) say(`No news: ${error.message}`, true);
  }
  if (data.live) setTimeout(() => { if (own === turn) refresh(selection.values); }, POLL_MS);
};

setTheme();
drawHeading();
drawVariables();
placeWidgets();
drawWidgets();
if (data.live) {
  say("● Live");
  refresh(selection.values);
}
