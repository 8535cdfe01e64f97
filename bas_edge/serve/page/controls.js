// Threshold, top-k and minimum score of the engine.

import { byId } from './tiles.js';

const cut = (threshold) => threshold.rule === 'fixed'
  ? threshold.value.toFixed(2) : `${threshold.value.toFixed(2)} × mean`;

const CONTROLS = [
  {
    name: 'threshold', label: 'Threshold', min: 0, max: 1, step: 0.01, say: cut,
    // A rule has no place on the slider: it lies where a fraction often does.
    place: (value) => (value.rule === 'fixed' ? value.value : null),
  },
  { name: 'top_k', label: 'Top-k', min: 1, max: 1, step: 1, say: String, place: (value) => value },
  {
    name: 'min_score', label: 'Minimum score', min: 0, max: 1, step: 0.01,
    say: (value) => value.toFixed(2), place: (value) => value,
  },
];

export class Controls {
  constructor(link) {
    this.link = link;
    this.waiting = {};
    this.busy = false;
    this.touchedAt = 0;
    this.sliders = CONTROLS.map((each) => this.#slider(each));
    byId('save').addEventListener('click', () => this.#save());
  }

  // What the server says is in use; a slider that is being moved stays under the finger.
  show(tuning) {
    this.tuning = tuning;
    if (tuning.in_use === null) return; // nothing to tune: its card is hidden
    if (this.busy || Date.now() - this.touchedAt < 800) return;
    for (const { control, input, output, mark, own, use } of this.sliders) {
      const used = tuning.in_use[control.name];
      const theirs = tuning.own[control.name];
      if (control.name === 'top_k') input.max = tuning.most_top_k;
      const fixed = Number(input.max) === Number(input.min);
      input.disabled = fixed;
      input.value = control.place(used) ?? 0.5;
      input.classList.toggle('ruled', control.place(used) === null);
      output.textContent = control.say(used);
      input.setAttribute('aria-valuetext', output.textContent);
      const at = control.place(theirs);
      mark.hidden = at === null || fixed;
      if (at !== null && !fixed) {
        mark.style.setProperty('--at', (at - input.min) / (input.max - input.min));
      }
      own.textContent = fixed ? 'This engine has nothing to choose.' : `Engine: ${control.say(theirs)}`;
      use.hidden = fixed || same(used, theirs);
    }
    const saved = ['threshold', 'top_k', 'min_score']
      .every((name) => same(tuning.in_use[name], tuning.saved[name]));
    byId('save').disabled = saved || tuning.unsavable !== '';
    byId('save-hint').textContent = tuning.unsavable || (saved ? 'The engine starts with these values.' : '');
  }

  #slider(control) {
    const copy = byId('slider').content.cloneNode(true);
    const root = copy.querySelector('.control');
    const input = copy.querySelector('input');
    const output = copy.querySelector('output');
    const label = copy.querySelector('label');
    const use = copy.querySelector('button');
    input.id = control.name;
    Object.assign(input, { min: control.min, max: control.max, step: control.step, disabled: true });
    label.htmlFor = control.name;
    label.textContent = control.label;
    output.htmlFor = control.name;
    use.setAttribute('aria-label', `Use the engine's own ${control.label.toLowerCase()}`);
    input.addEventListener('input', () => {
      const value = Number(input.value);
      input.classList.remove('ruled');
      output.textContent = control.name === 'top_k' ? String(value) : value.toFixed(2);
      input.setAttribute('aria-valuetext', output.textContent);
      this.#change({ [control.name]: value });
    });
    use.addEventListener('click', () => {
      this.touchedAt = 0;
      this.#change({ [control.name]: null }, 0);
    });
    byId('controls').append(root);
    return {
      control, input, output, use,
      mark: root.querySelector('.mark'), own: root.querySelector('.own span'),
    };
  }

  // One request at a time; what changes meanwhile goes into the next.
  async #change(values, touchedAt = Date.now()) {
    Object.assign(this.waiting, values);
    this.touchedAt = touchedAt;
    if (this.busy) return;
    this.busy = true;
    let tuning = null;
    try {
      while (Object.keys(this.waiting).length) {
        const body = this.waiting;
        this.waiting = {};
        tuning = await this.link.ask('PATCH', '/api/tuning', body);
        say('');
        await new Promise((done) => setTimeout(done, 120));
      }
    } catch (error) {
      say(error.message, true);
      tuning = this.tuning;
    } finally {
      this.busy = false;
    }
    this.touchedAt = 0;
    if (tuning) this.show(tuning);
  }

  async #save() {
    try {
      this.show(await this.link.ask('POST', '/api/tuning/save'));
      say(`Saved: ${this.tuning.engine} starts with these values.`);
    } catch (error) {
      say(error.message, true);
    }
  }
}

function say(text, wrong = false) {
  byId('saved').textContent = text;
  byId('saved').classList.toggle('wrong', wrong);
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
