// The search space: what an index means, and which cells are one edge apart.

const ranks = unpack(data.ranks); // of each index in the order of all ops, the last edge fastest
const NUM_CELLS = ranks.length;
const OPS = data.ops;
const EDGES = data.edges;
const OP_NAMES = ["none", "skip", "1\u00d71", "3\u00d73", "pool"]; // for lack of room
const EDGE_NAMES = EDGES.map(([source, target]) => `${nodeName(source)}\u2192${nodeName(target)}`);
const RESNET = 11472; // 3x3, none, 3x3, skip, none, skip: the residual block

const PLACES = EDGES.map((_, edge) => OPS.length ** (EDGES.length - 1 - edge));
const indexOfRank = new Uint16Array(NUM_CELLS);
ranks.forEach((rank, index) => (indexOfRank[rank] = index));

function nodeName(node) {
  return ["in", "1", "2", "out"][node];
}

const opOn = (cell, edge) => Math.floor(ranks[cell] / PLACES[edge]) % OPS.length;
const opsOf = (cell) => EDGES.map((_, edge) => opOn(cell, edge));

/** The cell with another op on one edge. */
const changed = (cell, edge, op) => indexOfRank[ranks[cell] + (op - opOn(cell, edge)) * PLACES[edge]];

const neighboursOf = (cell) =>
  EDGES.flatMap((_, edge) => OPS.map((_, op) => changed(cell, edge, op))).filter((other) => other !== cell);

function archOf(cell) {
  const terms = EDGES.map(([source, target], edge) => ({ target, text: `${OPS[opOn(cell, edge)]}~${source}` }));
  return [1, 2, 3]
    .map((target) => `|${terms.filter((term) => term.target === target).map((term) => term.text).join("|")}|`)
    .join("+");
}

/** The cell that a text names, by index or arch string; a text that names none throws a sentence. */
function parseCell(text) {
  const wanted = text.trim();
  if (/^\d+$/.test(wanted)) {
    if (Number(wanted) < NUM_CELLS) return Number(wanted);
    throw new Error(`Indices are 0 to ${NUM_CELLS - 1}.`);
  }
  const found = EDGES.reduce((rank, _, edge) => rank + opInArch(wanted, edge) * PLACES[edge], 0);
  const cell = indexOfRank[found];
  if (archOf(cell) !== wanted) throw new Error(`Give an index, or an arch string such as ${archOf(RESNET)}`);
  return cell;
}

function opInArch(text, edge) {
  const name = text.split(/[|+]+/).filter(Boolean)[edge]?.split("~")[0];
  return Math.max(0, OPS.indexOf(name));
}
