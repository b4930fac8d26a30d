// What is looked at, as one plain object. It lives in the address after #, so that a link restores it.

const ANY = ""; // of an edge: else an op's code, or ! and an op's code for all others

/** What the page shows if nothing else is said: accuracy against training time, or parameters where times are unknown. */
function initialState() {
  const dataset = data.datasets[0];
  const recipe = dataset.recipes[0];
  const known = quantitiesOf(dataset, recipe).map((quantity) => quantity.id);
  return {
    x: known.includes("seconds") ? "seconds" : "params",
    y: known[0],
    dataset: dataset.name,
    recipe: recipe?.name ?? "",
    epoch: null, // the last
    cell: null,
    edges: EDGES.map(() => ANY),
    ranges: [], // {key, low, high}: of the quantity of an axis, in its unit; null for no bound
    front: true,
    zoom: null, // [left, right, bottom, top] in the axes' units
  };
}

function stateToHash(state) {
  const initial = initialState();
  const words = new URLSearchParams();
  for (const name of ["x", "y", "dataset", "recipe"]) if (state[name] !== initial[name]) words.set(name, state[name]);
  if (state.epoch !== (last(epochsOf(state)) ?? null)) words.set("epoch", state.epoch);
  if (state.cell !== null) words.set("cell", state.cell);
  if (state.edges.some((edge) => edge !== ANY)) words.set("edges", state.edges.join("."));
  for (const { key, low, high } of state.ranges) words.append("range", `${key}~${low ?? ""}~${high ?? ""}`);
  if (!state.front) words.set("front", "0");
  if (state.zoom) words.set("zoom", state.zoom.map((end) => Number(end.toPrecision(6))).join("~"));
  return words.toString();
}

/** The state that a link describes. What it does not say, or says wrongly, is as at first. */
function stateFromHash(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...initialState(), ...chosenData(words) };
  for (const name of ["x", "y"]) if (words.has(name)) state[name] = words.get(name);
  if (/^\d+$/.test(words.get("epoch") ?? "")) state.epoch = Number(words.get("epoch"));
  const cell = words.get("cell") ?? "";
  if (/^\d+$/.test(cell) && Number(cell) < NUM_CELLS) state.cell = Number(cell);
  const edges = (words.get("edges") ?? "").split(".");
  if (edges.length === EDGES.length && edges.every((edge) => /^(!?[0-4])?$/.test(edge))) state.edges = edges;
  state.ranges = words.getAll("range").map(rangeFromText).filter(Boolean);
  state.front = words.get("front") !== "0";
  const zoom = (words.get("zoom") ?? "").split("~").map(Number);
  if (zoom.length === 4 && isZoom(zoom)) state.zoom = zoom;
  return sound(state);
}

/** Whether ends are finite, and so far apart that there are numbers between them. */
function isZoom([left, right, bottom, top]) {
  const isWide = (low, high) => Number.isFinite(low) && high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high));
  return isWide(left, right) && isWide(bottom, top);
}

/** Data set and recipe that a link names: without a recipe, the data set's first. */
function chosenData(words) {
  const dataset = datasetOf(words.get("dataset")) ?? data.datasets[0];
  const recipe = recipeOf(dataset, words.get("recipe")) ?? dataset.recipes[0];
  return { dataset: dataset.name, recipe: recipe?.name ?? "" };
}

function rangeFromText(text) {
  const [, key, low, high] = /^(.*)~(.*)~(.*)$/s.exec(text) ?? [];
  const bound = (end) => (end !== "" && Number.isFinite(Number(end)) ? Number(end) : null);
  return key === undefined ? null : { key, low: bound(low), high: bound(high) };
}

/** A state whose every part is there in the table: what is not becomes as at first. */
function sound(state) {
  const dataset = datasetOf(state.dataset) ?? data.datasets[0];
  const recipe = recipeOf(dataset, state.recipe) ?? dataset.recipes[0];
  const next = { ...state, dataset: dataset.name, recipe: recipe?.name ?? "" };
  const known = quantitiesOf(dataset, recipe);
  if (!axisOf(next.y, next)) next.y = known[0].id;
  if (!axisOf(next.x, next)) next.x = (known.find((quantity) => quantity.id === initialState().x) ?? last(known)).id;
  next.ranges = next.ranges.filter((range) => axisOf(range.key, next));
  const epochs = epochsOf(next);
  if (!epochs.includes(next.epoch)) next.epoch = last(epochs) ?? null;
  return next;
}

/**
 * What a key names in a state: an id is a quantity of the chosen data set, recipe and epoch; `dataset/recipe/id` is one of
 * another at its last epoch. Null if the table has none.
 */
function axisOf(key, state) {
  const [, dataset, recipe, id] = /^([^/]*)\/([^/]*)\/(.*)$/s.exec(key) ?? [];
  const pinned = id !== undefined;
  const place = datasetOf(pinned ? dataset : state.dataset);
  const schedule = place && recipeOf(place, pinned ? recipe : state.recipe);
  const quantity = place && quantitiesOf(place, schedule).find((one) => one.id === (pinned ? id : key));
  if (!quantity) return null;
  const epoch = quantity.epochs ? (pinned ? last(quantity.epochs) : state.epoch) : null;
  return { key, quantity, dataset: place.name, recipe: schedule?.name ?? "", epoch, pinned, values: valuesOf(quantity, epoch) };
}

/** Epochs to choose from: those that both axes have, of whatever of them goes by the chosen epoch. */
function epochsOf(state) {
  const axes = [axisOf(state.x, state), axisOf(state.y, state)];
  const lists = axes.filter((axis) => axis && !axis.pinned && axis.quantity.epochs).map((axis) => axis.quantity.epochs);
  if (!lists.length) return recipeOf(datasetOf(state.dataset), state.recipe)?.quantities[0].epochs ?? [];
  const shared = lists[0].filter((epoch) => lists.every((list) => list.includes(epoch)));
  return shared.length ? shared : lists[0];
}

function axisText(axis) {
  const { quantity, dataset, recipe, epoch } = axis;
  const where = epoch === null ? [dataset] : [dataset, recipe, `epoch ${epoch}`];
  const unit = quantity.unit ? ` [${quantity.unit}]` : "";
  return `${quantity.label}${unit}  \u00b7  ${where.join(", ")}`;
}
