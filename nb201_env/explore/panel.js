// The picked cell: its graph, its numbers, its learning curves, and its neighbours to walk to.

const OP_COLOURS = ["none", "skip", "conv1", "conv3", "pool"];
const NODES = [[24, 96], [132, 96], [240, 96], [348, 96]];
const ARCS = [0, -46, 0, -82, 46, 0]; // how far above or below the line of nodes each edge passes: none crosses another

/** Fill the panel with a view's cell. `walk` is called with the cell of a pressed button. */
function showPanel(view, walk) {
  const { cell } = view.state;
  const panel = byId("cell");
  const place = document.activeElement?.dataset?.place; // the button in use, which is made anew
  if (cell === null) {
    panel.replaceChildren(make("p", { class: "note" }, "Pick a point to see its cell: click or tap it, or go with the arrow keys. The wheel or two fingers zoom, a drag moves."));
    return;
  }
  panel.replaceChildren(
    make("h2", {}, `Cell ${cell}`),
    graphOf(cell),
    make("code", { class: "arch" }, archOf(cell)),
    make("h3", {}, "In numbers"),
    make("div", { class: "scroll" }, numbersOf(view, cell)),
    ...curvesOf(view, cell),
    make("h3", {}, "Neighbours"),
    make("p", { class: "note" }, `One edge changed (ringed in the plot), and what that does to ${view.y.quantity.label}, ${view.y.dataset}${unitNote(view.y.quantity)}.`),
    neighbourTable(view, cell, walk),
  );
  if (place) panel.querySelector(`[data-place="${place}"]`)?.focus();
}

const unitNote = (quantity) => (quantity.unit ? `, in ${quantity.unit === "%" ? "percentage points" : quantity.unit}` : "");

function graphOf(cell) {
  const words = EDGE_NAMES.map((name, edge) => `${name} ${OPS[opOn(cell, edge)]}`).join(", ");
  const edges = EDGES.map((_, edge) => graphEdge(edge, opOn(cell, edge)));
  const nodes = NODES.map(([x, y], node) => makeSvg("g", {},
    makeSvg("circle", { cx: x, cy: y, r: 15, fill: "var(--paper)", stroke: "var(--ink)", "stroke-width": 1.5 }),
    makeSvg("text", { x, y: y + 4, "text-anchor": "middle" }, nodeName(node))));
  return makeSvg("svg", { viewBox: "0 0 372 156", role: "img", "aria-label": `Graph: ${words}` }, ...edges, ...nodes);
}

function graphEdge(edge, op) {
  const [source, target] = EDGES[edge];
  const [[x1, y], [x2]] = [NODES[source], NODES[target]];
  const middle = (x1 + x2) / 2;
  const bend = ARCS[edge];
  const paint = `var(--${OP_COLOURS[op]})`;
  const [from, to] = bend ? [x1 + 9, x2 - 11] : [x1 + 15, x2 - 20];
  const side = Math.sign(bend);
  const [begin, end] = bend ? [y + side * 14, y + side * 17] : [y, y];
  const apex = y + (bend ? (bend - side * 4) * (4 / 3) : 0); // a cubic curve reaches three quarters of the way
  const lean = bend ? 0.25 * (x2 - x1) : 0;
  return makeSvg("g", {},
    makeSvg("path", {
      d: `M${from},${begin} C${from + lean},${apex} ${to - lean},${apex} ${to},${end}`, fill: "none", stroke: paint,
      "stroke-width": op ? 2.4 : 1.5, "stroke-dasharray": op ? null : "2 4",
    }),
    arrowHead(to, end, bend ? Math.atan2(end - apex, lean) : 0, paint),
    makeSvg("text", { x: middle, y: y + bend + 4, "text-anchor": "middle", class: "halo" }, OP_NAMES[op]));
}

function arrowHead(x, y, angle, paint) {
  const degrees = (angle * 180) / Math.PI;
  return makeSvg("path", { d: "M5,0 L-4,-4 L-4,4 Z", fill: paint, transform: `translate(${x},${y}) rotate(${degrees})` });
}

/** One column for each data set and recipe: at the chosen epoch where the recipe is the chosen one, else at its last. */
function numbersOf(view, cell) {
  const columns = data.datasets.flatMap((dataset) => (dataset.recipes.length ? dataset.recipes : [null]).map((recipe) => ({
    dataset, recipe, quantities: quantitiesOf(dataset, recipe), epoch: epochShown(view.state, recipe),
  })));
  const ids = [...new Set(columns.flatMap(({ quantities }) => quantities.map(({ id }) => id)))];
  const heads = columns.map(({ dataset, recipe, epoch }) => make("th", { scope: "col" }, dataset.name,
    ...(recipe ? [make("small", {}, recipe.name), make("small", {}, `epoch ${epoch}`)] : [])));
  return make("table", { id: "numbers" },
    make("thead", {}, make("tr", {}, make("td"), ...heads)),
    make("tbody", {}, ...ids.map((id) => numbersRow(id, columns, cell))));
}

function epochShown(state, recipe) {
  const epochs = [...new Set((recipe?.quantities ?? []).flatMap((quantity) => quantity.epochs))].sort((a, b) => a - b);
  return recipe?.name === state.recipe && epochs.includes(state.epoch) ? state.epoch : last(epochs);
}

function numbersRow(id, columns, cell) {
  const found = columns.map((column) => ({ ...column, quantity: column.quantities.find((quantity) => quantity.id === id) }));
  const { label } = found.find(({ quantity }) => quantity).quantity;
  return make("tr", {}, make("th", { scope: "row" }, label), ...found.map(({ quantity, epoch }) => {
    if (!quantity) return make("td", {}, "\u2013");
    if (quantity.epochs && !quantity.epochs.includes(epoch)) return make("td", {}, "\u2013", make("small", {}, "not at this epoch"));
    const values = valuesOf(quantity, epoch);
    if (!Number.isFinite(values[cell])) return make("td", {}, "missing");
    const rank = quantity.split ? [make("small", {}, `rank ${rankOf(quantity, values, cell).toLocaleString("en")}`)] : [];
    return make("td", {}, valueText(quantity, values[cell]), ...rank);
  }));
}

/** Accuracies over epochs on the chosen data set, nothing if the table knows one epoch only. */
function curvesOf(view, cell) {
  const { state } = view;
  const recipe = recipeOf(datasetOf(state.dataset), state.recipe);
  const lines = (recipe?.quantities ?? []).filter(({ split, epochs }) => split && epochs.length > 1).map((quantity) => ({
    quantity, points: quantity.epochs.map((epoch) => [epoch, valuesOf(quantity, epoch)[cell]]).filter(([, value]) => Number.isFinite(value)),
  })).filter(({ points }) => points.length > 1);
  if (!lines.length) return [];
  return [make("h3", {}, `Learning curve, ${state.dataset}, ${state.recipe}`), curveChart(lines, state.epoch)];
}

const DASHES = [null, "7 3", "2 3", "9 3 2 3"];
const LINE_COLOURS = ["point", "front", "run", "resnet"];

function curveChart(lines, epoch) {
  const all = lines.flatMap(({ points }) => points);
  const [first, final] = [Math.min(...all.map(([e]) => e)), Math.max(...all.map(([e]) => e))];
  const [low, high] = [Math.min(...all.map(([, v]) => v)), Math.max(...all.map(([, v]) => v))];
  const room = (high - low) * 0.06 || 1;
  const x = (e) => 38 + ((e - first) / (final - first)) * 320;
  const y = (value) => 118 - ((value - low + room) / (high - low + 2 * room)) * 88;
  const words = lines.map(({ quantity, points }) => `${quantity.label} from ${valueText(quantity, points[0][1])} to ${valueText(quantity, last(points)[1])}`);
  return makeSvg("svg", { id: "curves", viewBox: "0 0 372 142", role: "img", "aria-label": words.join("; ") },
    ...ticksOf(low - room, high + room, 6).flatMap(({ value, text }) => [
      makeSvg("line", { x1: 38, x2: 358, y1: y(value), y2: y(value), stroke: "var(--grid)" }),
      makeSvg("text", { x: 32, y: y(value) + 4, "text-anchor": "end" }, text)]),
    ...ticksOf(first, final, 7).filter(({ value }) => Number.isInteger(value)).map(({ value, text }) =>
      makeSvg("text", { x: x(value), y: 136, "text-anchor": "middle" }, text)),
    epoch === null ? "" : makeSvg("line", { x1: x(epoch), x2: x(epoch), y1: 28, y2: 120, stroke: "var(--soft)", "stroke-dasharray": "3 3" }),
    ...lines.map(({ points }, i) => makeSvg("polyline", {
      points: points.map(([e, value]) => `${x(e)},${y(value)}`).join(" "), fill: "none", "stroke-width": 2,
      stroke: `var(--${LINE_COLOURS[i % 4]})`, "stroke-dasharray": DASHES[i % 4],
    })),
    ...lines.map(({ quantity }, i) => curveKey(quantity, i, lines.length)));
}

function curveKey(quantity, i, count) {
  const left = 38 + i * Math.min(110, 320 / count);
  return makeSvg("g", {},
    makeSvg("line", { x1: left, x2: left + 26, y1: 11, y2: 11, stroke: `var(--${LINE_COLOURS[i % 4]})`, "stroke-width": 2, "stroke-dasharray": DASHES[i % 4] }),
    makeSvg("text", { x: left + 31, y: 15 }, quantity.id));
}

/** The 24 neighbours as a table of edges and ops; the op that the cell has stands among them. */
function neighbourTable(view, cell, walk) {
  const { quantity, values } = view.y;
  const heads = OP_NAMES.map((name, op) => make("th", { scope: "col", title: OPS[op] }, name));
  const rows = EDGES.map((_, edge) => make("tr", {}, make("th", { scope: "row" }, EDGE_NAMES[edge]),
    ...OPS.map((name, op) => {
      const other = changed(cell, edge, op);
      const difference = values[other] - values[cell];
      const text = other === cell ? "now" : differenceText(quantity, difference);
      const better = quantity.better === "high" ? difference > 0 : difference < 0;
      const words = other === cell ? `${EDGE_NAMES[edge]} is ${name}` : `${EDGE_NAMES[edge]} to ${name}: cell ${other}, ${text}`;
      return make("td", {}, make("button", {
        type: "button", "data-place": `${edge} ${op}`, "aria-label": words, title: words, "aria-current": other === cell && "true",
        class: difference ? (better ? "better" : "worse") : null, onclick: () => walk(other),
      }, text));
    })));
  return make("table", { id: "neighbours" }, make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...rows));
}
