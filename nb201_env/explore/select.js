// Which cells a state shows, and which of them are marked.

/** All that is drawn of a state. */
function viewOf(state) {
  const x = axisOf(state.x, state);
  const y = axisOf(state.y, state);
  const shown = shownCells(state, x, y);
  return { state, x, y, shown, front: state.front ? paretoFront(x, y, shown) : [], best: bestCell(state, x, y), resnet: RESNET };
}

/** 1 for every cell that passes the filters, 0 for the others that have both values, 255 for those that lack one. */
function shownCells(state, x, y) {
  const allowed = state.edges.map(opsAllowed);
  const ranges = state.ranges.map(({ key, low, high }) => ({
    values: axisOf(key, state).values, low: low ?? -Infinity, high: high ?? Infinity,
  }));
  const shown = new Uint8Array(NUM_CELLS);
  for (let cell = 0; cell < NUM_CELLS; cell++) {
    if (!(Number.isFinite(x.values[cell]) && Number.isFinite(y.values[cell]))) shown[cell] = LACKING;
    else shown[cell] = opsPass(cell, allowed) && rangesPass(cell, ranges) ? 1 : 0;
  }
  return shown;
}

const LACKING = 255;

/** For an edge's filter, which ops it lets through; null if all. */
function opsAllowed(filter) {
  if (filter === ANY) return null;
  const op = Number(filter.replace("!", ""));
  return OPS.map((_, other) => (other === op) !== filter.startsWith("!"));
}

const opsPass = (cell, allowed) => allowed.every((ops, edge) => !ops || ops[opOn(cell, edge)]);
const rangesPass = (cell, ranges) => ranges.every(({ values, low, high }) => values[cell] >= low && values[cell] <= high);

/** Cells that no other shown one beats or equals on both axes, from the best horizontally. */
function paretoFront(x, y, shown) {
  const xs = directed(x);
  const ys = directed(y);
  let front = [];
  for (let cell = 0; cell < NUM_CELLS; cell++) {
    if (shown[cell] !== 1 || front.some((other) => xs[other] >= xs[cell] && ys[other] >= ys[cell])) continue;
    front = front.filter((other) => xs[other] > xs[cell] || ys[other] > ys[cell]);
    front.push(cell);
  }
  return front.sort((a, b) => xs[b] - xs[a]);
}

/** Values of an axis so that more is better. */
const directed = (axis) => (axis.quantity.better === "high" ? axis.values : axis.values.map((value) => -value));

/** The optimum: the cell of the highest accuracy, on the axis that is one or else on the data set; null without any. */
function bestCell(state, x, y) {
  const axes = [y, x, axisOf(quantitiesOf(datasetOf(state.dataset), recipeOf(datasetOf(state.dataset), state.recipe))[0].id, state)];
  const axis = axes.find(({ quantity }) => quantity.split);
  const index = axis ? argmax(axis.values) : -1;
  return index < 0 ? null : { cell: index, axis };
}

function argmax(values) {
  let best = -1;
  for (let cell = 0; cell < values.length; cell++) if (values[cell] > (best < 0 ? -Infinity : values[best])) best = cell;
  return best;
}
