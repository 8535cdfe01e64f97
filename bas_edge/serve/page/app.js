// The page: what comes from the server goes to tiles, controls and events.

import { Controls } from './controls.js';
import { Link } from './link.js';
import { Screen, Tile, byId, numbers, part, seen, showState, stateOf } from './tiles.js';

const MOST_EVENTS = 100;
const tiles = new Map();
let streams = new Map();
let linked = false;
let large = null; // the name of the stream that is shown alone
let lastEvent = 0;

const one = new Screen(byId('one-screen'));
const link = new Link({ onPicture, onNews, onState, onToken });
const controls = new Controls(link);

function onPicture(header, picture) {
  if (header.stream === large) one.draw(header, picture);
  const stream = streams.get(header.stream);
  const tile = tiles.get(header.stream);
  if (!stream || !tile) return;
  tile.screen.draw(header, picture);
  stream.latest = { ...stream.latest, ...header }; // what is said belongs to what is shown
  tile.latest.textContent = seen(stream);
  refresh(header.stream);
}

function onNews({ streams: listed, tuning, events }) {
  streams = new Map(listed.streams.map((stream) => [stream.name, stream]));
  for (const name of streams.keys()) if (!tiles.has(name)) addTile(name);
  for (const name of tiles.keys()) if (!streams.has(name)) removeTile(name);
  byId('nothing').hidden = streams.size > 0;
  byId('engine').textContent = `${tuning.engine} · ${tuning.backend}`;
  byId('problems').hidden = listed.problems.length === 0;
  byId('problems').textContent = listed.problems.join('\n');
  controls.show(tuning);
  showTask(tuning);
  for (const [name, tile] of tiles) tile.show(streams.get(name));
  showEvents(events, listed.last_event);
  showLarge();
  refreshAll();
  watch();
}

const LINK_WORDS = { connecting: 'Connecting …', open: 'Live', refused: 'Token needed' };

function onState(state, why = '') {
  linked = state === 'open';
  byId('link').dataset.link = state;
  byId('link').textContent = LINK_WORDS[state] ?? `${why}. Trying again …`;
  refreshAll();
}

function onToken(why) {
  byId('ask-why').textContent = why;
  if (!byId('ask').open) byId('ask').showModal();
}

byId('ask').addEventListener('cancel', (event) => event.preventDefault());
byId('ask-form').addEventListener('submit', (event) => {
  event.preventDefault();
  byId('ask').close();
  link.useToken(byId('token').value.trim(), byId('keep').checked);
  byId('token').value = '';
});

// Streams

function addTile(name) {
  const tile = new Tile(name);
  tiles.set(name, tile);
  byId('grid').append(tile.root);
  byId('grid').dataset.count = tiles.size;
}

function removeTile(name) {
  tiles.get(name).root.remove();
  tiles.delete(name);
  byId('grid').dataset.count = tiles.size;
}

function refresh(name) {
  const stream = streams.get(name);
  if (!stream) return;
  tiles.get(name)?.refresh(stream, linked);
  if (name === large) {
    const state = stateOf(stream, linked);
    showState(byId('one-state'), state);
    one.refresh(stream, state);
  }
}

function refreshAll() {
  for (const name of tiles.keys()) refresh(name);
}

// Classes of pixels have no box to smooth and nothing to tune, and are shown unless asked not to.
function showTask({ in_use: tuned }) {
  const overlay = byId('overlay');
  byId('tuning').hidden = byId('smooth').hidden = tuned === null;
  byId('overlay-label').textContent = `${tuned === null ? 'Classes' : 'Map'} over the picture`;
  if (overlay.dataset.touched) return;
  overlay.value = tuned === null ? 60 : 0;
  byId('overlay-value').textContent = `${overlay.value} %`;
}

// What is on the screen is watched, and nothing while nobody sees the page.
function watch() {
  const { value, dataset } = byId('overlay');
  const overlay = dataset.touched ? Number(value) / 100 : null; // null is what suits the engine
  if (document.hidden) link.watch([]);
  else if (large !== null) link.watch([{ stream: large, width: one.width, overlay }]);
  else link.watch([...tiles].map(([stream, tile]) => ({ stream, width: tile.screen.width })));
}

function showLarge() {
  const stream = streams.get(large);
  if (!stream) return;
  byId('one-numbers').replaceChildren(...numbers(stream));
  const pause = byId('one-pause');
  pause.textContent = stream.paused ? 'Resume' : 'Pause';
  pause.disabled = stream.state === 'ended';
  const choice = byId('smoothing');
  choice.disabled = stream.presets.length === 0;
  if (choice.options.length !== stream.presets.length) {
    choice.replaceChildren(...stream.presets.map((preset) => new Option(preset, preset)));
  }
  if (document.activeElement !== choice && stream.smoothing) choice.value = stream.smoothing;
}

function route() {
  const name = new URLSearchParams(location.hash.slice(1)).get('stream');
  if (name === large) return;
  const left = large;
  large = name;
  byId('one').hidden = name === null;
  byId('grid').hidden = name !== null;
  if (name !== null) {
    one.clear();
    byId('one-name').textContent = name;
    byId('one-name').title = name;
    showLarge();
    refresh(name);
    byId('streams').focus({ preventScroll: true });
    window.scrollTo(0, 0);
  } else {
    tiles.get(left)?.root.querySelector('a').focus();
  }
  watch();
}

async function ask(method, path, body) {
  try {
    const stream = await link.ask(method, `/api/streams/${encodeURIComponent(large)}/${path}`, body);
    streams.set(stream.name, stream);
    showLarge();
    refresh(stream.name);
  } catch (error) {
    byId('problems').hidden = false;
    byId('problems').textContent = error.message;
  }
}

byId('one-pause').addEventListener('click', () => {
  ask('POST', streams.get(large)?.paused ? 'resume' : 'pause');
});
byId('smoothing').addEventListener('change', (event) => {
  ask('PATCH', 'smoothing', { preset: event.target.value });
});
byId('overlay').addEventListener('input', (event) => {
  event.target.dataset.touched = 'true';
  byId('overlay-value').textContent = `${event.target.value} %`;
  watch();
});

// Events

const SIGNS = { state: '◆', rule: '★', change: '✎' };

function showEvents(events, last) {
  const list = byId('events');
  if (last < lastEvent) list.replaceChildren(); // the server was started anew
  lastEvent = last;
  for (const event of events) {
    if (list.querySelector(`[data-id="${event.id}"]`)) continue;
    const item = part('li', `about-${event.kind}`);
    item.dataset.id = event.id;
    const time = part('time', '', new Date(event.at).toLocaleTimeString('en-GB'));
    time.dateTime = event.at;
    const sign = part('span', 'sign', SIGNS[event.kind] ?? '•');
    sign.setAttribute('aria-hidden', 'true');
    const text = part('span', 'text');
    text.append(part('strong', '', event.stream || 'All streams'), ` ${event.what}`);
    if (event.text) text.append(part('span', 'more', event.text));
    item.append(time, sign, text);
    list.prepend(item);
  }
  while (list.children.length > MOST_EVENTS) list.lastChild.remove();
}

window.addEventListener('hashchange', route);
window.addEventListener('resize', watch);
document.addEventListener('visibilitychange', watch);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && large !== null && !byId('ask').open) location.hash = '';
});
setInterval(refreshAll, 500);
route();
link.open();
