// A WebSocket server that answers every message with itself: node websocket-echo.mjs PORT
import { WebSocketServer } from 'ws';
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]) }, () => console.log('listening'));
server.on('connection', (socket, request) => {
  socket.send(JSON.stringify(request.headers));
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
