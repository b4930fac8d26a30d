// The plot: points on one canvas, what is marked on another above it, so that marking redraws no points.

const MARGIN = { left: 46, right: 18, top: 42, bottom: 44 };
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

/** All points and the axes beneath them; how many points lie within the axes. */
function drawPoints(view, scale) {
  const context = cleared(pointsCanvas);
  const { width, height } = pointsCanvas;
  const radius = (1.4 + Math.min(size.width, size.height) / 900) * size.ratio;
  const picture = new ImageData(width, height);
  const drawn = [[0, "dim", 0.4], [1, "point", 0.38]].reduce((count, [which, name, alpha]) => {
    const places = placesOf(view, scale, which);
    layInk(picture, inkOf(places, dot(radius, alpha), width, height), rgb(colour(name)));
    return count + places.length / 2;
  }, 0);
  context.putImageData(picture, 0, 0);
  context.globalCompositeOperation = "destination-over";
  drawAxes(context, view, scale);
  context.globalCompositeOperation = "source-over";
  return drawn;
}

/** Pixels of the cells of one kind that lie within the axes, [x, y, x, y, ...]. */
function placesOf({ x, y, shown }, scale, which) {
  const places = [];
  for (let cell = 0; cell < NUM_CELLS; cell++) {
    if (shown[cell] !== which) continue;
    const left = scale.x(x.values[cell]);
    const top = scale.y(y.values[cell]);
    if (scale.inside(left, top)) places.push(Math.round(left * size.ratio), Math.round(top * size.ratio));
  }
  return places;
}

/** A round dot as the pixels around its middle, [right, down, share of light that passes]. */
function dot(radius, alpha) {
  const pixels = [];
  const reach = Math.ceil(radius);
  for (let down = -reach; down <= reach; down++) {
    for (let right = -reach; right <= reach; right++) {
      const covered = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(right, down)));
      if (covered > 0) pixels.push([right, down, 1 - alpha * covered]);
    }
  }
  return pixels;
}

/**
 * How much light passes at every pixel after all dots. Multiplying numbers is several times faster than asking the canvas
 * for 15,625 circles, and where many dots lie the ink is dense.
 */
function inkOf(places, pixels, width, height) {
  const passes = new Float32Array(width * height).fill(1);
  for (const [right, down, share] of pixels) {
    for (let i = 0; i < places.length; i += 2) passes[(places[i + 1] + down) * width + places[i] + right] *= share;
  }
  return passes;
}

/** Lay ink of one colour over a picture. */
function layInk({ data: pixels }, passes, [red, green, blue]) {
  for (let i = 0, at = 0; i < passes.length; i++, at += 4) {
    if (passes[i] === 1) continue;
    const ink = 1 - passes[i];
    const beneath = (pixels[at + 3] / 255) * passes[i];
    const all = ink + beneath;
    pixels[at] = (red * ink + pixels[at] * beneath) / all;
    pixels[at + 1] = (green * ink + pixels[at + 1] * beneath) / all;
    pixels[at + 2] = (blue * ink + pixels[at + 2] * beneath) / all;
    pixels[at + 3] = 255 * all;
  }
}

const rgb = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));

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
  const room = 10; // for rings at the ends of the axes
  context.rect(MARGIN.left - room, MARGIN.top - room, size.width - MARGIN.left - MARGIN.right + 2 * room,
    size.height - MARGIN.top - MARGIN.bottom + 2 * room);
  context.clip();
  drawFront(context, view.front.map(at));
  if (run) drawRun(context, run, at, there);
  const { cell } = view.state;
  if (cell !== null && there(cell)) drawPicked(context, at(cell), neighboursOf(cell).filter(there).map(at));
  context.restore();
  const inside = (cell) => there(cell) && scale.inside(...at(cell));
  if (inside(view.resnet)) drawLabelled(context, at(view.resnet), "\u25c6", "ResNet", colour("resnet"), 1);
  if (view.best && inside(view.best.cell)) drawLabelled(context, at(view.best.cell), "\u2605", "optimum", colour("best"), -1);
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
