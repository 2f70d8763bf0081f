// The same site on Fastify. `node fastify.mjs PORT`.
import fastify from "fastify";

const app = fastify({ trustProxy: true, routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, useSemicolonDelimiter: true } });
app.removeAllContentTypeParsers();
app.addContentTypeParser("*", (_request, payload, done) => { payload.resume(); payload.on("end", () => done(null)); });

const flat = (value) => (Array.isArray(value) ? value : [value]);
const site = (path, zone, more = () => []) =>
  app.all(path, (request, reply) => {
    const host = (request.hostname ?? "").toLowerCase();
    const lines = ["one-view", `vhost=${host.startsWith("admin.") ? "admin" : "other"}`, `subject=${request.headers["x-auth-subject"] ?? ""}`];
    reply.type("text/plain").send([...lines, `zone=${zone}`, ...more(request), ""].join("\n"));
  });

site("/admin", "strict");
site("/admin/*", "strict");
site("/desk/stock", "strict");
site("/shop/:item/keys", "strict");
const orders = (request) => flat(request.query.org).map((value) => `org=${value}`);
site("/orders", "orders", orders);
site("/orders/:order", "orders", orders);
site("/heads", "heads", (request) => [`xorg=${request.headers["x-org"]}`]);
site("/things/:id", "things", (request) => [`method=${request.method}`]);
site("/customers/:customer", "customers", (request) => [`customer=${request.params.customer}`]);
site("/*", "lax");
await app.listen({ port: Number(process.argv[2]), host: "127.0.0.1" });
