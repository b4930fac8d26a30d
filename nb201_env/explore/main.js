// What happens: a change makes a new state, and a state is drawn.

let state = stateFromHash(location.hash);
let view;
let scale;
let runs = [];
let run = null; // the one search that is drawn, through some query

/** Change parts of the state, given as an object or as a function of the state. `push` makes a step that Back undoes. */
function change(parts, { push = false } = {}) {
  state = sound({ ...state, ...(typeof parts === "function" ? parts(state) : parts) });
  saveHash(push);
  schedule();
}

let saving;
function saveHash(push) {
  clearTimeout(saving);
  const save = () => {
    const hash = `#${stateToHash(state)}`;
    if (hash !== (location.hash || "#")) history[push ? "pushState" : "replaceState"](null, "", hash);
  };
  if (push) save();
  else saving = setTimeout(save, 150); // browsers refuse addresses that change with every move of a slider
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    render();
  });
}

function render() {
  const start = performance.now();
  const { cell: _, ...what } = state;
  const drawn = JSON.stringify(what);
  if (fitCanvases() || drawn !== render.drawn) {
    view = viewOf(state);
    scale = scaleOf(view);
    const count = drawPoints(view, scale);
    marksCanvas.setAttribute("aria-label", `${count.toLocaleString("en")} cells: ${axisText(view.y)} against ${axisText(view.x)}`);
    showEmpty(count);
    showControls(view, change);
  }
  view.state = state;
  render.drawn = drawn;
  drawMarks(view, scale, run);
  const panel = [state.cell, state.dataset, state.recipe, state.epoch, state.y].join("\n");
  if (panel !== render.panel) showPanel(view, pick);
  render.panel = panel;
  performance.measure("render", { start });
}

function showEmpty(count) {
  byId("empty").hidden = count > 0;
  byId("empty").textContent = state.zoom ? "No cell lies here." : "The table has no cell with both of these.";
}

function pick(cell) {
  hover(null);
  change({ cell }, { push: true });
  const { quantity, values } = view.y;
  byId("said").textContent = cell === null ? "" : `Cell ${cell}, ${quantity.label} ${valueText(quantity, values[cell])}`;
}

function hover(cell) {
  const tooltip = byId("tooltip");
  tooltip.hidden = cell === null;
  if (cell === null) return;
  const { x, y } = view;
  tooltip.textContent = `${cell}:  ${valueText(y.quantity, y.values[cell])},  ${valueText(x.quantity, x.values[cell])}`;
  const left = scale.x(x.values[cell]) + 12;
  tooltip.style.left = `${Math.min(left, size.width - tooltip.offsetWidth - 4)}px`;
  tooltip.style.top = `${Math.max(scale.y(y.values[cell]) - 34, 2)}px`;
}

// --- pointers: a click picks, a drag moves, a wheel or two fingers zoom ---------------------------------------------

const pointers = new Map(); // those that are down, by id: where they are, and how far they went
const REACH = { mouse: 14, pen: 18, touch: 26 };

const placeOf = (event) => {
  const box = marksCanvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
};

marksCanvas.addEventListener("pointerdown", (event) => {
  marksCanvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { ...placeOf(event), moved: 0 });
});

marksCanvas.addEventListener("pointermove", (event) => {
  const place = placeOf(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    const cell = cellAt(view, scale, place.x, place.y, 14);
    hover(cell);
    marksCanvas.style.cursor = cell === null ? "crosshair" : "pointer";
    return;
  }
  const others = [...pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, other]) => other);
  const moved = before.moved + Math.hypot(place.x - before.x, place.y - before.y);
  if (others.length) pinch(before, place, others[0]);
  else if (moved > 6) shift(place.x - before.x, place.y - before.y);
  else return; // a click whose hand trembles
  pointers.set(event.pointerId, { ...place, moved: Math.max(moved, 7) });
});

marksCanvas.addEventListener("pointerup", (event) => {
  const down = pointers.get(event.pointerId);
  pointers.delete(event.pointerId);
  if (!down || down.moved > 6) return;
  const cell = cellAt(view, scale, down.x, down.y, REACH[event.pointerType] ?? 14);
  if (cell !== null) pick(cell);
});

for (const name of ["pointercancel", "pointerleave"]) {
  marksCanvas.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    hover(null);
  });
}

marksCanvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomAt(placeOf(event), Math.exp(Math.min(Math.max(event.deltaY, -300), 300) / 500));
}, { passive: false });

function shift(dx, dy) {
  hover(null);
  moveEnds((x) => scale.xBack(scale.x(x) - dx), (y) => scale.yBack(scale.y(y) - dy));
}

/** Zoom by a factor, below 1 closer, so that a place stays where it is. */
function zoomAt({ x, y }, factor) {
  const [left, top] = [scale.xBack(x), scale.yBack(y)];
  moveEnds((end) => left + (end - left) * factor, (end) => top + (end - top) * factor);
}

function pinch(before, now, other) {
  const apart = (a, b) => Math.max(20, Math.hypot(a.x - b.x, a.y - b.y));
  zoomAt(other, apart(before, other) / apart(now, other));
  other.moved = 7; // the finger that rests picks nothing either
}

function moveEnds(horizontally, vertically) {
  const [left, right, bottom, top] = state.zoom ?? scale.ends;
  const zoom = [horizontally(left), horizontally(right), vertically(bottom), vertically(top)];
  if (isZoom(zoom)) change({ zoom });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

marksCanvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const middle = { x: size.width / 2, y: size.height / 2 };
  if (ARROWS[event.key]) step(ARROWS[event.key]);
  else if (event.key === "+" || event.key === "=") zoomAt(middle, 0.8);
  else if (event.key === "-") zoomAt(middle, 1.25);
  else if (event.key === "0") change({ zoom: null });
  else if (event.key === "Escape") pick(null);
  else return;
  event.preventDefault();
});

function step(direction) {
  const start = state.cell !== null && view.shown[state.cell] !== LACKING ? state.cell : null;
  const next = start === null ? (view.best?.cell ?? argmax(view.y.values)) : cellTowards(view, scale, start, direction);
  if (next !== null && next >= 0) pick(next);
}

// --- the file of a benchmark run -------------------------------------------------------------------------------------

byId("run-file").addEventListener("change", async ({ target }) => {
  const file = target.files[0];
  if (!file) return;
  target.value = ""; // the same file may be chosen again
  byId("run-problem").textContent = "";
  try {
    if (file.size > MOST_BYTES) throw new Error("The file is larger than 200 MB: choose the result file of one agent.");
    if (/\.xz$/.test(file.name)) throw new Error("The file is compressed: unpack it with xz -d first.");
    showRuns(parseRuns(await file.text()));
  } catch (error) {
    byId("run-problem").textContent = error.message;
  }
});

function showRuns(found) {
  runs = found;
  byId("run-name").textContent = found[0].agent;
  byId("run-view").hidden = false;
  fillSelect(byId("run-seed"), found.map(({ seed }, place) => option(place, `seed ${seed}`)), 0);
  const { dataset, recipe, epoch } = found[0];
  if (datasetOf(dataset)) change({ dataset, recipe, epoch, zoom: dataset === state.dataset ? state.zoom : null });
  showRun();
}

/** The chosen search, all its queries at first. */
function showRun() {
  const { rows } = runs[byId("run-seed").value];
  const slider = byId("run-query");
  slider.max = rows.length;
  slider.value = rows.length;
  slider.disabled = !rows.length;
  showQueries();
}

function showQueries() {
  const search = runs[byId("run-seed").value];
  const rows = search.rows.slice(0, Number(byId("run-query").value));
  run = { rows, incumbents: incumbentsOf(rows) };
  byId("run-query-text").textContent = `${rows.length.toLocaleString("en")} of ${search.rows.length.toLocaleString("en")}`;
  const best = rows[last(run.incumbents)];
  const other = search.fingerprint === data.fingerprint ? "" : " It was made on another table: its points lie where this table puts them.";
  const where = datasetOf(search.dataset) ? "" : ` It searched on ${search.dataset}, which this table lacks.`;
  const incumbent = best ? `, incumbent ${best.cell} with ${numberText(100 * best.reward, 2)}\u202f% seen` : "";
  byId("run-text").textContent = `${plural(rows.length, "query").replace("querys", "queries")} on ${search.dataset}${incumbent}.${other}${where}`;
  schedule();
}

byId("run-seed").addEventListener("change", showRun);
byId("run-query").addEventListener("input", showQueries);
byId("run-remove").addEventListener("click", () => {
  runs = [];
  run = null;
  byId("run-view").hidden = true;
  byId("run-name").textContent = "";
  schedule();
});

// --- beginning -------------------------------------------------------------------------------------------------------

byId("table-name").textContent = data.table;
document.title = `${data.table}: NAS-Bench-201 explorer`;
listenToControls(change, () => state);

function redraw() {
  render.drawn = render.panel = null;
  schedule();
}

const follow = () => {
  clearTimeout(saving);
  state = stateFromHash(location.hash);
  schedule();
};
addEventListener("popstate", follow);
addEventListener("hashchange", follow);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(schedule).observe(byId("stage"));
render();
performance.mark("first-render");
