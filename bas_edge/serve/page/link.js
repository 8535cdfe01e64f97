// The connection to the server: token, requests, pictures; connects again by itself.

const KEY = 'bas-edge-token';
const SILENT_MS = 5000; // the server says something every second

export class Link {
  constructor({ onPicture, onNews, onState, onToken }) {
    Object.assign(this, { onPicture, onNews, onState, onToken });
    this.token = takeToken();
    this.wanted = [];
    this.attempt = 0;
    this.heardAt = 0;
    this.socket = null;
    setInterval(() => this.#noticeSilence(), 1000);
  }

  // A request of the API: the answer, or an Error with what the server said.
  async ask(method, path, body) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const response = await fetch(path, {
      method, headers, credentials: 'omit', cache: 'no-store',
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const said = await response.json().catch(() => ({}));
    if (response.ok) return said;
    const error = new Error([said.error, said.hint].filter(Boolean).join(' ') || response.statusText);
    error.status = response.status;
    throw error;
  }

  async open() {
    clearTimeout(this.timer);
    this.onState('connecting');
    try {
      await this.ask('GET', '/api/streams'); // a WebSocket cannot say why it was refused
    } catch (error) {
      if (error.status === 401) {
        forgetToken();
        this.onState('refused');
        this.onToken(this.token ? 'This token is wrong.' : 'The server printed it when it started.');
      } else {
        this.#later(error.status ? error.message : 'The server does not answer');
      }
      return;
    }
    this.#connect();
  }

  useToken(token, keep) {
    this.token = token;
    storeToken(token, keep);
    this.open();
  }

  // What is to be seen from now on: [{stream, width, overlay}].
  watch(wanted) {
    const text = JSON.stringify({ watch: wanted });
    if (text === this.lastWatch) return;
    this.lastWatch = text;
    this.wanted = wanted;
    this.#say({ watch: wanted });
  }

  #connect() {
    const address = new URL('/api/live', location.href);
    address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const protocols = ['bas-edge.v1'];
    if (this.token) protocols.push(`bas-edge.token.${base64url(this.token)}`);
    const socket = new WebSocket(address, protocols);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.attempt = 0;
      this.heardAt = Date.now();
      this.onState('open');
      this.#say({ watch: this.wanted });
    };
    socket.onmessage = ({ data }) => {
      this.heardAt = Date.now();
      if (typeof data === 'string') this.onNews(JSON.parse(data));
      else this.#show(data);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.#later(opened ? 'The connection was lost' : 'The server takes no more viewers');
    };
  }

  async #show(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    try {
      const jpeg = new Blob([new Uint8Array(data, 4 + length)], { type: 'image/jpeg' });
      const picture = await createImageBitmap(jpeg);
      this.onPicture(header, picture);
      picture.close();
    } finally {
      this.#say({ drawn: header.id }); // the server sends as many as are drawn
    }
  }

  #say(what) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(what));
  }

  #later(why) {
    const seconds = Math.min(8, 0.5 * 2 ** this.attempt++);
    this.onState('closed', why);
    this.timer = setTimeout(() => this.open(), 1000 * seconds * (0.8 + 0.4 * Math.random()));
  }

  #noticeSilence() {
    if (this.socket?.readyState === WebSocket.OPEN && Date.now() - this.heardAt > SILENT_MS) {
      this.socket.close();
      const socket = this.socket;
      this.socket = null;
      socket.onclose = null;
      this.#later('The server is silent');
    }
  }
}

// The token comes in the fragment of the address, which no server ever sees, and leaves it at once.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    history.replaceState(null, '', location.pathname);
    storeToken(given, false);
    return given;
  }
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

function storeToken(token, keep) {
  try {
    sessionStorage.setItem(KEY, token);
    if (keep) localStorage.setItem(KEY, token);
  } catch { /* storage is off: the token lasts as long as the page */ }
}

function forgetToken() {
  try {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  } catch { /* as above */ }
}

function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
