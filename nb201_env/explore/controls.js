// The controls: filled from the state, and changing it. What the table has no choice of has no control.

/** Show a view in all controls. `change` takes the parts of the state that a control changes. */
function showControls(view, change) {
  const { state } = view;
  for (const name of ["x", "y"]) fillSelect(byId(name), axisChoices(state), state[name]);
  choose("dataset", data.datasets.map(({ name }) => name), state.dataset);
  choose("recipe", datasetOf(state.dataset).recipes.map(({ name }) => name), state.recipe);
  showEpoch(state);
  showLegend(view, change);
  showFilters(view, change);
  byId("show-all").hidden = !state.zoom;
}

function choose(name, names, chosen) {
  byId(`${name}-field`).hidden = names.length < 2;
  fillSelect(byId(name), names.map((one) => option(one, one)), chosen);
}

/** Options of a select, made anew only where they changed: the browser may have it open. */
function fillSelect(select, options, chosen) {
  const said = options.map((one) => one.outerHTML).join();
  if (select.said !== said) select.replaceChildren(...options);
  select.said = said;
  select.value = chosen;
}

/** What an axis can show: of the chosen data set, and of every other by its name. */
function axisChoices(state) {
  const dataset = datasetOf(state.dataset);
  const chosen = quantitiesOf(dataset, recipeOf(dataset, state.recipe)).map(({ id, label }) => option(id, label));
  const groups = data.datasets.flatMap((other) => other.recipes.map((recipe) => make("optgroup", { label: `${other.name}, ${recipe.name}` },
    ...recipe.quantities.map(({ id, label, epochs }) => option(`${other.name}/${recipe.name}/${id}`, `${label}, ${other.name}, epoch ${last(epochs)}`)),
    ...other.quantities.filter(isNotCounted).map(({ id, label }) => option(`${other.name}/${recipe.name}/${id}`, `${label}, ${other.name}`)))));
  return groups.length > 1 ? [make("optgroup", { label: "Chosen data set" }, ...chosen), ...groups] : chosen;
}

const isNotCounted = ({ id }) => id !== "params" && id !== "macs"; // these are almost the same everywhere

function showEpoch(state) {
  const epochs = epochsOf(state);
  byId("epoch-field").hidden = epochs.length < 2;
  const slider = byId("epoch");
  slider.max = epochs.length - 1;
  slider.value = epochs.indexOf(state.epoch);
  slider.setAttribute("aria-valuetext", `epoch ${state.epoch}`);
  const all = recipeOf(datasetOf(state.dataset), state.recipe)?.thinned_from;
  byId("epoch-text").textContent = `${state.epoch ?? ""}${all ? ` (${epochs.length} of ${all} are in this page)` : ""}`;
}

function showLegend(view, change) {
  const { front, state, best, x, y } = view;
  const pick = (cell) => () => change({ cell }, { push: true });
  const mark = (sign, name) => make("span", { class: "mark", style: `color: var(--${name})`, "aria-hidden": "true" }, sign);
  const box = make("input", { type: "checkbox", id: "front", onchange: () => change({ front: !state.front }) });
  box.checked = state.front;
  const goal = ({ quantity }) => `${quantity.better} ${quantity.label}`;
  const text = `Pareto front${state.front ? `: ${plural(front.length, "cell")}, ${goal(y)} against ${goal(x)}` : ""}`;
  const focused = document.activeElement?.id;
  byId("legend").replaceChildren(
    ...(best ? [make("button", { type: "button", id: "pick-best", onclick: pick(best.cell) }, mark("\u2605", "best"), ` optimum ${best.cell}`)] : []),
    make("button", { type: "button", id: "pick-resnet", onclick: pick(view.resnet) }, mark("\u25c6", "resnet"), ` ResNet ${view.resnet}`),
    make("label", {}, box, mark("\u2501", "front"), text));
  if (["front", "pick-best", "pick-resnet"].includes(focused)) byId(focused)?.focus(); // they have been made anew
}

function showFilters({ state, shown }, change) {
  state.edges.forEach((filter, edge) => (byId(`edge-${edge}`).value = filter));
  const count = shown.reduce((sum, one) => sum + (one === 1), 0);
  byId("filter-text").textContent = count < NUM_CELLS ? `${plural(count, "cell")} of ${NUM_CELLS.toLocaleString("en")}` : "";
  const keys = JSON.stringify([state.ranges.map(({ key }) => key), state.dataset, state.recipe, state.epoch]);
  if (byId("ranges").said !== keys) byId("ranges").replaceChildren(...state.ranges.map((range) => rangeRow(range, state, change)));
  byId("ranges").said = keys;
  state.ranges.forEach(({ key, low, high }, i) => {
    const row = byId("ranges").children[i];
    row.querySelector("legend").textContent = axisText(axisOf(key, state));
    row.querySelectorAll("input").forEach((input, end) => {
      if (document.activeElement !== input) input.value = [low, high][end] ?? "";
    });
  });
  const choices = [option("", "\u2026"), ...axisChoices(state)];
  fillSelect(byId("new-range"), choices, "");
}

function rangeRow({ key }, state, change) {
  const { values } = axisOf(key, state);
  const present = values.filter(Number.isFinite);
  const ends = [present.reduce((a, b) => Math.min(a, b), Infinity), present.reduce((a, b) => Math.max(a, b), -Infinity)];
  const inputs = ["low", "high"].map((end, i) => make("input", {
    type: "number", step: "any", "aria-label": i ? "at most" : "at least", placeholder: Number(ends[i].toPrecision(5)),
    oninput: (event) => change((now) => ({
      ranges: now.ranges.map((one) => (one.key === key ? { ...one, [end]: event.target.value === "" ? null : Number(event.target.value) } : one)),
    })),
  }));
  const remove = () => change((now) => ({ ranges: now.ranges.filter((one) => one.key !== key) }));
  return make("fieldset", {}, make("legend"), ...inputs,
    make("button", { type: "button", "aria-label": "Remove this range", onclick: remove }, "\u00d7"));
}

/** Make the controls that do not depend on the state, and listen to all. */
function listenToControls(change, state) {
  byId("edges").replaceChildren(...EDGE_NAMES.map((name, edge) => make("label", {}, name, edgeSelect(edge, change))));
  for (const name of ["x", "y", "dataset", "recipe"]) byId(name).addEventListener("change", () => change({ [name]: byId(name).value, zoom: null }));
  byId("epoch").addEventListener("input", () => change({ epoch: epochsOf(state())[byId("epoch").value] }));
  byId("show-all").addEventListener("click", () => change({ zoom: null }));
  byId("new-range").addEventListener("change", () => {
    const key = byId("new-range").value;
    if (!state().ranges.some((range) => range.key === key)) change({ ranges: [...state().ranges, { key, low: null, high: null }] });
    else byId("new-range").value = "";
  });
  byId("clear-filters").addEventListener("click", () => change({ edges: EDGES.map(() => ANY), ranges: [] }));
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const problem = byId("find-problem");
    problem.textContent = "";
    try {
      change({ cell: parseCell(byId("find-text").value) }, { push: true });
    } catch (error) {
      problem.textContent = error.message;
    }
  });
}

function edgeSelect(edge, change) {
  return make("select", { id: `edge-${edge}`, onchange: (event) => change((now) => ({ edges: now.edges.map((one, place) => (place === edge ? event.target.value : one)) })) },
    option(ANY, "any"),
    make("optgroup", { label: "only" }, ...OP_NAMES.map((name, op) => option(op, name))),
    make("optgroup", { label: "not" }, ...OP_NAMES.map((name, op) => option(`!${op}`, `not ${name}`))));
}
