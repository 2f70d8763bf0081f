// The same site on Express. `node express.mjs PORT PACKAGE`, where PACKAGE is `express` or `express4`.
import { fileURLToPath } from "node:url";
import methodOverride from "method-override";

const [port, name] = process.argv.slice(2);
const { default: express } = await import(name);
const app = express();
app.disable("x-powered-by");
app.set("trust proxy", true);
app.set("query parser", "extended");
app.use(methodOverride("X-HTTP-Method-Override", { methods: null }));
app.use(methodOverride("_method", { methods: null }));

const flat = (value) => (Array.isArray(value) || (value && typeof value === "object") ? Object.values(value).flatMap(flat) : [value]);
const answer = (zone, more = () => []) => (request, response) => {
  const host = (request.hostname ?? "").toLowerCase();
  const lines = ["one-view", `vhost=${host.startsWith("admin.") ? "admin" : "other"}`, `subject=${request.get("X-Auth-Subject") ?? ""}`];
  response.type("text/plain").send([...lines, `zone=${zone}`, ...more(request), ""].join("\n"));
};

// What is in a folder of its own is strict, too: `public/admin/keys.txt`.
app.use(express.static(fileURLToPath(new URL("public", import.meta.url))));
app.use("/admin", answer("strict"));
app.all("/desk/stock", answer("strict"));
app.all("/shop/:item/keys", answer("strict"));
app.all(["/orders", "/orders/:order"], answer("orders", (request) => flat(request.query.org).map((value) => `org=${value}`)));
app.all("/heads", answer("heads", (request) => [`xorg=${request.get("X-Org")}`]));
app.all("/things/:id", answer("things", (request) => [`method=${request.method}`]));
app.all("/customers/:customer", answer("customers", (request) => [`customer=${request.params.customer}`]));
app.use(answer("lax"));
app.use((error, _request, response, _next) => response.status(error.status ?? 500).type("text/plain").send("one-view\nzone=error\n"));
app.listen(Number(port), "127.0.0.1");
