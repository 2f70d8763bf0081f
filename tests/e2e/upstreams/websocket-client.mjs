// Sends three messages and prints what comes back, then how the connection ended:
// node websocket-client.mjs URL CA TOKEN [wait]   (with `wait` it says `ready` instead of closing)
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';
const [url, ca, token, wait] = process.argv.slice(2);
const socket = new WebSocket(url, { ca: readFileSync(ca), headers: token ? { Authorization: `Bearer ${token}` } : {} });
const received = [];
socket.on('open', () => ['one', 'two', 'x'.repeat(100000)].forEach((text) => socket.send(text)));
socket.on('message', (message) => {
  received.push(message.toString());
  if (received.length === 4) wait ? console.log('ready') : socket.close(1000);
});
socket.on('unexpected-response', (_request, response) => {
  console.log(JSON.stringify({ refused: response.statusCode, challenge: response.headers['www-authenticate'] ?? null }));
  process.exit(0);
});
socket.on('close', (code) => console.log(JSON.stringify({ received: received.map((text) => text.slice(0, 2000)), sizes: received.map((text) => text.length), code })));
socket.on('error', (error) => { console.log(JSON.stringify({ error: String(error) })); process.exit(1); });
