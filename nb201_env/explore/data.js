// The table's numbers, unpacked when first asked for, and shown as text.

const data = JSON.parse(document.getElementById("data").textContent);

const ELEMENTS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };
const unpacked = new Map(); // a packed array, or a quantity and its epoch, to its values

function remember(key, make) {
  if (!unpacked.has(key)) unpacked.set(key, make());
  return unpacked.get(key);
}

function elements(packed) {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new ELEMENTS[packed.type](bytes.buffer);
}

/** The numbers of a packed array as Float64Array, NaN where missing. The format stands in pack.py. */
function unpack(packed, scale = 1) {
  const raw = elements(packed);
  const { palette, over } = packed;
  const wholes = over?.data ? unpack(over) : null;
  const values = new Float64Array(raw.length);
  for (let i = 0; i < raw.length; i++) {
    const value = palette ? (palette[raw[i]] ?? NaN) : raw[i];
    values[i] = (value * scale) / (wholes ? wholes[i] : (over ?? 1));
  }
  return values;
}

/** Values of a quantity in its unit; all missing at an epoch that it does not have. */
function valuesOf(quantity, epoch) {
  if (!quantity.epochs) return remember(quantity, () => unpack(quantity.columns[0], quantity.scale));
  if (quantity.rate) {
    const rate = remember(quantity.rate, () => unpack(quantity.rate, quantity.scale));
    const known = quantity.epochs.includes(epoch);
    return remember(`${quantity.key} ${epoch}`, () => rate.map((value) => (known ? value * epoch : NaN)));
  }
  const packed = quantity.columns[quantity.epochs.indexOf(epoch)];
  return packed ? remember(packed, () => unpack(packed, quantity.scale)) : remember("missing", () => ranks.map(() => NaN));
}

const datasetOf = (name) => data.datasets.find((dataset) => dataset.name === name);
const recipeOf = (dataset, name) => dataset.recipes.find((recipe) => recipe.name === name);

/** All that is known by a data set and a recipe, accuracies first. */
const quantitiesOf = (dataset, recipe) => [...(recipe?.quantities ?? []), ...dataset.quantities];

for (const dataset of data.datasets) {
  for (const recipe of dataset.recipes) {
    for (const quantity of recipe.quantities) quantity.key = `${dataset.name}/${recipe.name}/${quantity.id}`;
  }
}

const last = (list) => list[list.length - 1];
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function numberText(value, digits, options = {}) {
  const precision = digits === null
    ? { maximumSignificantDigits: 5 }
    : { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value.toLocaleString("en", { ...precision, ...options }).replace("-", "\u2212");
}

/** A value with its unit. */
function valueText(quantity, value) {
  if (!Number.isFinite(value)) return "missing";
  return numberText(value, quantity.digits) + (quantity.unit ? `\u202f${quantity.unit}` : "");
}

function differenceText(quantity, difference) {
  return Number.isFinite(difference) ? numberText(difference, quantity.digits, { signDisplay: "exceptZero" }) : "?";
}

/** Which place a value has among those of all cells, the best being 1. */
function rankOf(quantity, values, cell) {
  const sign = quantity.better === "high" ? 1 : -1;
  return 1 + values.reduce((count, value) => count + (sign * value > sign * values[cell]), 0);
}
