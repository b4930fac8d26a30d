// The plot: points on one canvas, what is marked on another above it, so that marking redraws no points.

const MARGIN = { left: 46, right: 18, top: 30, bottom: 44 };
const pointsCanvas = byId("points");
const marksCanvas = byId("marks");
const size = { width: 0, height: 0, ratio: 1 };

/** Fit the canvases to the page; true if that changed anything. */
function fitCanvases() {
  const { width, height } = byId("stage").getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  if (width === size.width && height === size.height && ratio === size.ratio) return false;
  Object.assign(size, { width, height, ratio });
  for (const canvas of [pointsCanvas, marksCanvas]) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  return true;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Where values lie on the page, in CSS pixels: `x` and `y` of values, and back. */
function scaleOf(view) {
  const [left, right, bottom, top] = view.state.zoom ?? [...extent(view.x, view), ...extent(view.y, view)];
  const width = size.width - MARGIN.left - MARGIN.right;
  const height = size.height - MARGIN.top - MARGIN.bottom;
  return {
    ends: [left, right, bottom, top],
    x: (value) => MARGIN.left + ((value - left) / (right - left)) * width,
    y: (value) => MARGIN.top + ((top - value) / (top - bottom)) * height,
    xBack: (pixel) => left + ((pixel - MARGIN.left) / width) * (right - left),
    yBack: (pixel) => top - ((pixel - MARGIN.top) / height) * (top - bottom),
    inside: (x, y) => x >= MARGIN.left && x <= size.width - MARGIN.right && y >= MARGIN.top && y <= size.height - MARGIN.bottom,
  };
}

/** Least and largest value of an axis, with some room. */
function extent(axis, view) {
  let low = Infinity;
  let high = -Infinity;
  for (let cell = 0; cell < NUM_CELLS; cell++) {
    if (view.shown[cell] === LACKING) continue;
    low = Math.min(low, axis.values[cell]);
    high = Math.max(high, axis.values[cell]);
  }
  if (low > high) return [0, 1];
  const room = (high - low) * 0.03 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

function cleared(canvas) {
  const context = canvas.getContext("2d");
  context.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  return context;
}

/** Axes and all points; how many of them lie within the axes. */
function drawPoints(view, scale) {
  const context = cleared(pointsCanvas);
  drawAxes(context, view, scale);
  const radius = 1.5 + Math.min(size.width, size.height) / 900;
  context.setTransform(1, 0, 0, 1, 0, 0);
  return drawDots(context, view, scale, 0, dot(radius * 0.8, colour("dim"), 0.5))
    + drawDots(context, view, scale, 1, dot(radius, colour("point"), 0.45));
}

/** A dot as a picture: copying one is much faster than drawing a circle 15,625 times. */
function dot(radius, fill, alpha) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil(2 * radius * size.ratio) + 1;
  const context = canvas.getContext("2d");
  context.globalAlpha = alpha;
  context.fillStyle = fill;
  context.arc(canvas.width / 2, canvas.width / 2, radius * size.ratio, 0, 2 * Math.PI);
  context.fill();
  return canvas;
}

function drawDots(context, { x, y, shown }, scale, which, picture) {
  let drawn = 0;
  for (let cell = 0; cell < NUM_CELLS; cell++) {
    if (shown[cell] !== which) continue;
    const left = scale.x(x.values[cell]);
    const top = scale.y(y.values[cell]);
    if (!scale.inside(left, top)) continue;
    context.drawImage(picture, Math.round(left * size.ratio - picture.width / 2), Math.round(top * size.ratio - picture.width / 2));
    drawn++;
  }
  return drawn;
}

function drawAxes(context, { x, y }, scale) {
  const [left, right, bottom, top] = scale.ends;
  const floor = size.height - MARGIN.bottom;
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 1;
  context.strokeStyle = colour("grid");
  context.fillStyle = colour("soft");
  for (const { value, text } of ticksOf(left, right, size.width / 110)) {
    line(context, [[scale.x(value), MARGIN.top], [scale.x(value), floor]]);
    context.textAlign = "center";
    context.fillText(text, scale.x(value), floor + 16);
  }
  for (const { value, text } of ticksOf(bottom, top, size.height / 70)) {
    line(context, [[MARGIN.left, scale.y(value)], [size.width - MARGIN.right, scale.y(value)]]);
    context.textAlign = "right";
    context.fillText(text, MARGIN.left - 7, scale.y(value) + 4);
  }
  context.fillStyle = colour("ink");
  context.textAlign = "left";
  context.fillText(`\u2191 ${axisText(y)}`, 4, 16, size.width - 8);
  context.textAlign = "right";
  context.fillText(`${axisText(x)} \u2192`, size.width - MARGIN.right, size.height - 8, size.width - 8);
}

function line(context, places) {
  context.beginPath();
  places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

/** Everything marked: front, run, the picked cell with its neighbours, optimum and ResNet. */
function drawMarks(view, scale, run) {
  const context = cleared(marksCanvas);
  const at = (cell) => [scale.x(view.x.values[cell]), scale.y(view.y.values[cell])];
  const there = (cell) => view.shown[cell] !== LACKING;
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top - 8, size.width - MARGIN.left - MARGIN.right + 8, size.height - MARGIN.top - MARGIN.bottom + 16);
  context.clip();
  drawFront(context, view.front.map(at));
  if (run) drawRun(context, run, at, there);
  const { cell } = view.state;
  if (cell !== null && there(cell)) drawPicked(context, at(cell), neighboursOf(cell).filter(there).map(at));
  if (there(view.resnet)) drawLabelled(context, at(view.resnet), "\u25c6", "ResNet", colour("resnet"), 1);
  if (view.best && there(view.best.cell)) drawLabelled(context, at(view.best.cell), "\u2605", "optimum", colour("best"), -1);
  context.restore();
}

function drawFront(context, places) {
  context.strokeStyle = context.fillStyle = colour("front");
  context.lineWidth = 1.8;
  // as stairs: between two of its cells lies nothing that is as good as both
  line(context, places.flatMap(([x, y], i) => (i ? [[x, places[i - 1][1]], [x, y]] : [[x, y]])));
  for (const place of places) ring(context, place, 3, { fill: true });
}

function drawRun(context, { rows, incumbents }, at, there) {
  context.strokeStyle = colour("run");
  context.lineWidth = 1.2;
  rows.forEach(({ cell }, place) => {
    context.globalAlpha = 0.25 + (0.6 * (place + 1)) / rows.length; // later queries stand out
    if (there(cell)) ring(context, at(cell), 4);
  });
  context.globalAlpha = 1;
  context.lineWidth = 2.2;
  context.fillStyle = colour("run");
  const path = incumbents.map((place) => rows[place].cell).filter(there).map(at);
  line(context, path);
  for (const place of path) ring(context, place, 4, { fill: true });
}

function drawPicked(context, place, neighbours) {
  context.strokeStyle = colour("ink");
  context.lineWidth = 1.2;
  for (const neighbour of neighbours) ring(context, neighbour, 4.5);
  context.lineWidth = 2.5;
  ring(context, place, 9);
  ring(context, place, 2, { fill: true });
}

function ring(context, [x, y], radius, { fill = false } = {}) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) context.fill();
  else context.stroke();
}

/** A sign at a place and a word above (-1) or below (1) it, kept within the canvas. */
function drawLabelled(context, [x, y], sign, word, fill, side) {
  context.font = "600 13px system-ui, sans-serif";
  context.textAlign = "center";
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeStyle = colour("paper");
  context.fillStyle = fill;
  const half = context.measureText(word).width / 2;
  const middle = Math.min(Math.max(x, MARGIN.left + half), size.width - MARGIN.right - half);
  const baseline = y + side * 14 + (side > 0 ? 8 : 0);
  for (const [text, left, top] of [[sign, x, y + 5], [word, middle, baseline]]) {
    context.strokeText(text, left, top);
    context.fillText(text, left, top);
  }
}

/** The drawn cell nearest to a place, null if none is within reach. */
function cellAt(view, scale, x, y, reach) {
  let nearest = null;
  let least = reach * reach;
  for (let cell = 0; cell < NUM_CELLS; cell++) {
    if (view.shown[cell] !== 1) continue;
    const distance = (scale.x(view.x.values[cell]) - x) ** 2 + (scale.y(view.y.values[cell]) - y) ** 2;
    if (distance < least) [nearest, least] = [cell, distance];
  }
  return nearest;
}

/** The next shown cell in a direction, [right, down], from a cell: near, and rather ahead than aside. */
function cellTowards(view, scale, from, [right, down]) {
  let next = null;
  let least = Infinity;
  for (let cell = 0; cell < NUM_CELLS; cell++) {
    if (view.shown[cell] !== 1) continue;
    const dx = scale.x(view.x.values[cell]) - scale.x(view.x.values[from]);
    const dy = scale.y(view.y.values[cell]) - scale.y(view.y.values[from]);
    const ahead = dx * right + dy * down;
    const aside = Math.abs(dx * down + dy * right);
    if (ahead > 0.5 && aside <= ahead && ahead + 2 * aside < least) [next, least] = [cell, ahead + 2 * aside];
  }
  return next;
}
