"use strict";

// A live stream that shows nothing new for so long is called late.
const LATE_MS = 3000;
const RETRY_MS = 1000;
const NOTHING = "–";
const NO_RECORD = {
  classes: [],
  frame_indices: [],
  latency_seconds: null,
  num_frames: null,
  dropped_frames: null,
  time_seconds: null,
};

const byId = (id) => document.getElementById(id);
const noMemory = byId("memory").firstElementChild;
const noMessages = byId("messages").firstElementChild;
const tiles = new Map(); // by frame number, and how often the memory holds that frame before
const thumbnails = new Map(); // data addresses by frame number
const lines = new Map(); // of messages, by what they say and when
let stream = null;
let state = "waiting"; // of the stream, as pv-sparse says
let lastFrame = null;
let lastFrameAt = 0;
let newestPicture = null;

// What comes from the stream is set as text only: names and messages may hold anything.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function clock(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const tenths = Math.round(10 * seconds);
  const rest = `${Math.floor(tenths / 10) % 60}.${tenths % 10}`;
  const minutes = Math.floor(tenths / 600);
  if (minutes < 60) return `${minutes}:${rest.padStart(4, "0")}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest.padStart(4, "0")}`;
}

function percent(score) {
  return score === null ? NOTHING : `${(100 * score).toFixed(1)}%`;
}

function count(number) {
  return number === null || number === undefined ? NOTHING : number.toLocaleString("en");
}

function className(entry) {
  return entry.task === undefined ? entry.name : `${entry.task}: ${entry.name}`;
}

function showState(kind, text) {
  byId("state").dataset.state = kind;
  setText(byId("state"), text);
}

function showStream() {
  if (state !== "ended" && stream.readyState !== EventSource.OPEN) return; // what is shown is that it is lost
  const quiet = performance.now() - lastFrameAt;
  if (state === "live" && quiet > LATE_MS) showState("late", `no new frame for ${Math.floor(quiet / 1000)} s`);
  else showState(state, state);
}

function showNoPicture() {
  newestPicture = null;
  byId("picture").hidden = true;
  byId("no-picture").hidden = false;
  setText(byId("no-picture"), state === "ended" ? "No frame came." : "No frame has come yet.");
  setText(byId("frame"), NOTHING);
}

async function showPicture(picture) {
  const ready = new Image();
  newestPicture = ready;
  ready.src = `data:image/jpeg;base64,${picture.jpeg}`;
  await ready.decode().catch(() => {});
  if (newestPicture !== ready) return; // a newer one has come
  const shown = byId("picture");
  shown.src = ready.src;
  shown.alt = `Frame ${picture.number} of the stream`;
  shown.hidden = false;
  byId("no-picture").hidden = true;
  setText(byId("frame"), `${picture.number}, ${clock(picture.time_seconds)}`);
}

function makeTile(number, seconds) {
  const tile = make("li");
  const image = make("img");
  image.alt = `Frame ${number} at ${clock(seconds)}`;
  if (thumbnails.has(number)) image.src = thumbnails.get(number);
  tile.append(image, make("p", "", clock(seconds)));
  return tile;
}

function showMemory(record, news) {
  for (const [number, jpeg] of Object.entries(news)) {
    thumbnails.set(Number(number), `data:image/jpeg;base64,${jpeg}`);
  }
  const numbers = record.frame_indices ?? [];
  const wanted = new Map();
  numbers.forEach((number, place) => {
    let key = String(number);
    while (wanted.has(key)) key += "+"; // a short stream may fill the memory with one frame several times
    wanted.set(key, tiles.get(key) ?? makeTile(number, record.frame_times_seconds?.[place]));
  });
  replace(tiles, wanted);
  arrange(byId("memory"), wanted.size ? [...wanted.values()] : [noMemory]);
  setText(byId("memory-count"), wanted.size ? `(${wanted.size})` : "");
  for (const number of thumbnails.keys()) if (!numbers.includes(number)) thumbnails.delete(number);
}

function replace(map, entries) {
  map.clear();
  entries.forEach((value, key) => map.set(key, value));
}

// Elements that stay are not taken out and put back: their animations would start, and they would be read out, again.
function arrange(parent, children) {
  const staying = new Set(children);
  for (const child of [...parent.children]) if (!staying.has(child)) child.remove();
  children.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

function tasksOf(classes) {
  const tasks = new Map();
  for (const entry of classes) tasks.set(entry.task ?? "", [...(tasks.get(entry.task ?? "") ?? []), entry]);
  return tasks;
}

// One row a rank: rows stay, and their bars move to the new scores.
function showClasses(classes) {
  const tasks = tasksOf(classes);
  const place = byId("classes");
  const shape = JSON.stringify([...tasks].map(([task, entries]) => [task, entries.length]));
  if (place.dataset.shape !== shape) {
    place.replaceChildren(...[...tasks].flatMap(([task, entries]) => makeRows(task, entries.length)));
    place.dataset.shape = shape;
  }
  const rows = place.querySelectorAll("li");
  [...tasks.values()].flat().forEach((entry, rank) => {
    setText(rows[rank].querySelector(".name"), entry.name);
    setText(rows[rank].querySelector(".score"), percent(entry.score));
    rows[rank].querySelector(".bar").style.width = `${100 * (entry.score ?? 0)}%`;
    rows[rank].title = entry.name;
  });
}

function makeRows(task, numRows) {
  const list = make("ol");
  for (let rank = 0; rank < numRows; rank += 1) {
    const row = make("li");
    const track = make("div", "track");
    track.setAttribute("aria-hidden", "true");
    track.append(make("div", "bar"));
    row.append(make("span", "name"), make("span", "score"), track);
    list.append(row);
  }
  return task === "" ? [list] : [make("h3", "", task), list];
}

function showTop(classes) {
  const best = [...tasksOf(classes).values()].map((entries) => entries[0]);
  setText(byId("top-class"), best.map(className).join(", ") || NOTHING);
  byId("top-class").title = byId("top-class").textContent;
  setText(byId("top-score"), best.length === 1 ? percent(best[0].score) : "");
}

function showNames(source, weights) {
  setText(byId("source"), source ?? "");
  byId("source").title = source ?? "";
  setText(byId("weights"), weights ?? NOTHING);
}

function showRecord(record, news) {
  setText(byId("latency"), record.latency_seconds === null ? NOTHING : `${count(Math.round(1000 * record.latency_seconds))} ms`);
  setText(byId("frames"), count(record.num_frames));
  setText(byId("dropped"), count(record.dropped_frames));
  setText(byId("time"), clock(record.time_seconds));
  showTop(record.classes ?? []);
  showClasses(record.classes ?? []);
  showMemory(record, news);
}

function makeLine(message) {
  const line = make("li");
  line.append(make("time", "", new Date(1000 * message.time_seconds).toLocaleTimeString()), make("span", "", message.text));
  return line;
}

function showMessages(messages) {
  const place = byId("messages");
  const isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 1; // nobody reads an older one
  const wanted = new Map();
  for (const message of messages) {
    const key = JSON.stringify(message);
    wanted.set(key, lines.get(key) ?? makeLine(message));
  }
  replace(lines, wanted);
  arrange(place, wanted.size ? [...wanted.values()] : [noMessages]);
  if (isAtEnd) place.scrollTop = place.scrollHeight;
}

function show(update) {
  if (update.frame && update.frame.number !== lastFrame) {
    lastFrame = update.frame.number;
    lastFrameAt = performance.now();
  }
  state = update.state;
  showStream();
  if (update.frame === null) showNoPicture();
  else if (update.picture) showPicture(update.picture);
  showNames(update.source, update.weights);
  showRecord(update.record ?? NO_RECORD, update.thumbnails);
  showMessages(update.messages);
}

// It may be another run, whose frames have the same numbers.
function forgetFrames() {
  tiles.clear();
  thumbnails.clear();
  lastFrame = null;
}

function connect() {
  stream = new EventSource("events");
  stream.onopen = forgetFrames;
  stream.onmessage = (event) => {
    show(JSON.parse(event.data));
    if (state === "ended") stream.close(); // else the browser would try again for ever
  };
  stream.onerror = () => {
    showState("lost", "no connection to pv-sparse");
    // The browser tries again by itself, but not after an answer that is no stream, as of a proxy.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
}

connect();
setInterval(showStream, 1000);
