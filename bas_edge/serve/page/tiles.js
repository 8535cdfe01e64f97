// Pictures and numbers of streams: a tile each, and one of them large.

const STATES = {
  running: ['●', 'Running'],
  connecting: ['◌', 'Connecting'],
  stalled: ['▲', 'Stalled'],
  reconnecting: ['↻', 'Reconnecting'],
  ended: ['■', 'Ended'],
  failed: ['✕', 'Failed'],
  paused: ['❚❚', 'Paused'],
  lost: ['⌁', 'No connection'],
};
const OLD_MS = 3000; // a picture this old is marked, whatever anyone says

export const byId = (id) => document.getElementById(id);
export const whole = (number) => Math.round(number).toLocaleString('en');

export function stateOf(stream, linked) {
  if (!linked) return 'lost';
  if (stream.failed) return 'failed';
  return stream.paused && stream.state !== 'ended' ? 'paused' : stream.state;
}

export function showState(element, state) {
  const [sign, words] = STATES[state] ?? ['?', state];
  element.dataset.state = state;
  element.replaceChildren(part('span', 'sign', sign), ` ${words}`);
  element.firstChild.setAttribute('aria-hidden', 'true');
}

export function part(tag, className, text = '') {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

export function ago(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 9.95 ? 1 : 0)} ms`;
  return ago(milliseconds);
}

// A canvas that shows one stream, and says so when what it shows is old.
export class Screen {
  constructor(element) {
    this.canvas = element.querySelector('canvas');
    this.stale = element.querySelector('.stale');
    this.element = element;
    this.clear();
  }

  clear() {
    this.capturedAt = this.drawnAt = null; // by this machine's clock
    this.frame = null;
    const { width, height } = this.canvas;
    this.canvas.getContext('2d').clearRect(0, 0, width, height);
  }

  draw(header, picture) {
    const { canvas } = this;
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    canvas.getContext('2d').drawImage(picture, 0, 0);
    canvas.dataset.frame = header.frame;
    this.drawnAt = Date.now();
    this.capturedAt = this.drawnAt - header.age_ms;
    this.frame = header.frame;
  }

  // How wide its pictures should be: sharp on a phone, without asking for more than helps.
  get width() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    return Math.max(160, Math.round(this.element.clientWidth * ratio));
  }

  refresh(stream, state) {
    const age = this.capturedAt === null ? null : Date.now() - this.capturedAt;
    const live = state === 'running' && age !== null && age < OLD_MS;
    this.element.classList.toggle('old', !live);
    this.stale.hidden = live;
    if (!live) {
      const late = state === 'running' && age !== null && Date.now() - this.drawnAt < OLD_MS;
      const why = state === 'running' ? 'No new picture' : STATES[state]?.[1] ?? state;
      const when = age === null ? 'no picture yet' : `last picture ${ago(age)} ago`;
      this.stale.textContent = late ? `Late · shows what was ${ago(age)} ago` : `${why} · ${when}`;
    }
    const seen = stream.latest?.found ? stream.latest.text : 'nothing found';
    this.canvas.setAttribute('aria-label', `${stream.name}: ${seen}${live ? '' : ', not live'}`);
  }
}

export class Tile {
  constructor(name) {
    const copy = byId('tile').content.cloneNode(true);
    this.name = name;
    this.root = copy.querySelector('article');
    this.screen = new Screen(copy.querySelector('.screen'));
    const link = copy.querySelector('a');
    link.href = `#stream=${encodeURIComponent(name)}`;
    link.setAttribute('aria-label', `Show ${name} large`);
    copy.querySelector('.name').textContent = name;
    for (const each of ['state', 'latest', 'age', 'fps', 'dropped']) {
      this[each] = copy.querySelector(`.${each}`);
    }
  }

  show(stream) {
    this.latest.textContent = seen(stream);
    const { age_ms: age } = stream; // null where the last minute had no result
    this.age.textContent = age ? duration(age.p50) : '–';
    this.age.title = age ? `median of the last minute; 95 %: ${duration(age.p95)}` : '';
    this.fps.textContent = `${stream.fps.toFixed(1)}/s`;
    this.dropped.textContent = whole(stream.dropped);
  }

  refresh(stream, linked) {
    const state = stateOf(stream, linked);
    showState(this.state, state);
    this.state.title = stream.reason;
    this.screen.refresh(stream, state);
  }
}

export function seen(stream) {
  if (!stream.latest) return why(stream) || 'Nothing yet';
  return stream.latest.found ? stream.latest.text : 'Nothing found';
}

// Why it is in its state, where that says more than what it is.
const why = ({ reason, details }) => (reason === details ? '' : reason);

// The table under the large picture.
export function numbers(stream) {
  const { latest, age_ms: age } = stream;
  const steady = latest?.iou == null
    ? '–' : `${latest.iou.toFixed(2)} IoU, ${latest.jitter_px.toFixed(1)} px`;
  const rows = [
    ['Found', seen(stream)],
    ['Age, median', age ? duration(age.p50) : '–'],
    ['Age, 95 %', age ? duration(age.p95) : '–'],
    ['Results', `${stream.fps.toFixed(1)} of ${stream.source_fps.toFixed(1)}/s`],
    ['Frames dropped', whole(stream.dropped)],
    ['Damaged', whole(stream.damaged + stream.unusable)],
    ['Missed by sinks', whole(stream.missed)],
    ['Reconnects', whole(stream.reconnects) + (stream.gap_s ? `, gap ${ago(1000 * stream.gap_s)}` : '')],
    ['Box to box', steady],
    ['Source', [stream.uri, stream.details].filter(Boolean).join(' · ')],
  ];
  if (why(stream)) rows.push(['Why', why(stream)]);
  return rows.map(([name, value]) => {
    const row = document.createElement('div');
    row.append(part('dt', '', name), part('dd', '', value));
    if (name === 'Source' || name === 'Why') row.className = 'wide';
    if (name === 'Found') row.className = 'seen';
    return row;
  });
}
