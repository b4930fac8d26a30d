// A result file of `nb201 bench`: JSON lines, each search a header and then one row for each query.

const ROW = ["cell", "epoch", "trial", "reward", "seconds"];
const MOST_BYTES = 200e6;

/** The searches in a text, as {agent, seed, dataset, recipe, epoch, fingerprint, rows}; a bad one throws a sentence. */
function parseRuns(text) {
  const runs = [];
  text.split("\n").forEach((line, number) => {
    if (line.trim()) readLine(line, number + 1, runs);
  });
  if (!runs.length) throw new Error("The file is empty: it should be a result file that nb201 bench has written.");
  for (const run of runs) {
    if (run.rows.length !== run.queries) {
      throw new Error(`The search of seed ${run.seed} is incomplete: ${run.rows.length} of ${run.queries} queries are there.`);
    }
  }
  return runs;
}

function readLine(line, number, runs) {
  const found = parsedJson(line, number);
  if (Array.isArray(found)) {
    if (!runs.length) throw new Error(`Line ${number} is a query before any header: this is no result file of nb201 bench.`);
    last(runs).rows.push(checkedRow(found, last(runs).fields, number));
  } else {
    runs.push(checkedHeader(found, number));
  }
}

function parsedJson(line, number) {
  try {
    return JSON.parse(line);
  } catch {
    throw new Error(`Line ${number} is no JSON: this is no result file of nb201 bench.`);
  }
}

function checkedHeader(header, number) {
  const rules = header?.env?.kwargs;
  const sound = typeof header?.agent === "string" && Number.isInteger(header.seed) && Number.isInteger(header.queries)
    && typeof rules?.dataset === "string" && typeof header.fingerprint === "string"
    && Array.isArray(header.row) && ROW.every((name, place) => header.row[place] === name);
  if (!sound) throw new Error(`Line ${number} is no header of a search: this is no result file of nb201 bench.`);
  const { agent, seed, queries, recipe, epoch, fingerprint, row: fields } = header;
  return { agent, seed, queries, recipe, epoch, fingerprint, fields, dataset: rules.dataset, rows: [] };
}

function checkedRow(row, fields, number) {
  const [cell, epoch, trial, reward, seconds] = row;
  const sound = row.length === fields.length && row.every(Number.isFinite) && [cell, epoch, trial].every(Number.isInteger)
    && cell >= 0 && cell < NUM_CELLS && epoch >= 1 && trial >= -1 && reward >= 0 && reward <= 1 && seconds >= 0;
  if (!sound) throw new Error(`Line ${number} is no query: it should hold ${fields.join(", ")}.`);
  const worth = fields.includes("worth") ? row[fields.indexOf("worth")] : reward;
  return { cell, epoch, reward, seconds, worth };
}

/** Places of the queries that became incumbents: the highest epoch first, then the highest worth, the first of equals. */
function incumbentsOf(rows) {
  const places = [];
  rows.forEach((row, place) => {
    const best = rows[last(places)];
    if (!best || row.epoch > best.epoch || (row.epoch === best.epoch && row.worth > best.worth)) places.push(place);
  });
  return places;
}
