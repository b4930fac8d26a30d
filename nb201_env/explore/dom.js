// Making elements. Text goes in as text, never as HTML.

const byId = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function makeSvg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const option = (value, text) => make("option", { value }, text);

/** About so many round numbers between two ends, and how many decimals they need. */
function ticksOf(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((multiple) => multiple * power >= rough) ?? 10);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n <= high / step + 1e-9; n++) ticks.push(n * step + 0); // never -0
  return ticks.map((value) => ({ value, text: tickText(value, digits, high) }));
}

function tickText(value, digits, high) {
  const compact = Math.abs(high) >= 1e4;
  const options = compact ? { notation: "compact", maximumSignificantDigits: 4 } : { minimumFractionDigits: Math.min(digits, 12) };
  return value.toLocaleString("en", options).replace("-", "\u2212");
}
