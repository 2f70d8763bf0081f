"""Starts the sites: servers that nobody here wrote, each serving what `sites/README.md` describes."""

import os
import shutil
import subprocess
from pathlib import Path

from support import NODE, curl, free_port, wait_until

SITES = Path(__file__).resolve().parent / "sites"

# Every site with the presets that are meant for such servers. There is no IIS to be had here; Express and Fastify fold letters as it does.
PRESETS = {
    "tomcat": ["tomcat"],
    "tomcat-decode": ["tomcat"],
    "apache-php": ["php"],
    "symfony": ["php"],
    "nginx": ["php"],
    "lighttpd": ["php"],
    "gunicorn": ["wsgi"],
    "flask": ["wsgi"],
    "django": ["wsgi"],
    "express4": ["node"],
    "express5": ["node", "iis"],
    "fastify": ["node", "iis"],
    "go": ["go"],
}


def start(case, names):
    """Starts the servers that the named sites need; gives each site's port. `case` is an `EndToEnd`."""
    ports = {}
    for starter in (tomcat, apache, nginx, lighttpd, gunicorn, node, go):
        ports |= starter(case, names)
    return ports


def version(command):
    """What a program says of its version."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def as_nobody():
    """Under which user servers run that will not run as root."""
    return "www-data" if os.getuid() == 0 else os.environ.get("USER", "nobody")


def tomcat(case, names):
    """Debian's Tomcat with two connectors: as it comes, and one that takes every encoded slash for a slash."""
    if not {"tomcat", "tomcat-decode"} & set(names):
        return {}
    base, plain, decode = case.directory / "tomcat", free_port(), free_port()
    home = Path("/usr/share/tomcat10")
    for folder in ("conf", "logs", "temp", "work", "webapps"):
        (base / folder).mkdir(parents=True)
    shutil.copytree(SITES / "tomcat", base / "webapps/ROOT")
    shutil.copy("/etc/tomcat10/web.xml", base / "conf/web.xml")
    connector = '<Connector address="127.0.0.1" port="{}" maxKeepAliveRequests="-1" maxThreads="16" {}/>'
    (base / "conf/server.xml").write_text(f"""\
<Server port="-1">
  <Service name="Catalina">
    {connector.format(plain, "")}
    {connector.format(decode, 'encodedSolidusHandling="decode" encodedReverseSolidusHandling="decode" allowBackslash="true"')}
    <Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps" autoDeploy="false"/></Engine>
  </Service>
</Server>
""")
    libraries = ":".join(str(path) for path in [home / "bin/bootstrap.jar", home / "bin/tomcat-juli.jar"])
    case.start("tomcat", ["java", "-Xmx256m", "-cp", libraries, f"-Dcatalina.home={home}", f"-Dcatalina.base={base}",
                          f"-Djava.io.tmpdir={base}/temp", "org.apache.catalina.startup.Bootstrap", "start"], decode)
    return {"tomcat": plain, "tomcat-decode": decode}


def apache(case, names):
    """Debian's Apache with mod_php: plain scripts with negotiation and encoded slashes let through, and Symfony."""
    if not {"apache-php", "symfony"} & set(names):
        return {}
    php, symfony, directory = free_port(), free_port(), case.directory
    modules = ["mpm_prefork", "authz_core", "dir", "mime", "negotiation", "rewrite", "alias", "access_compat"]
    load = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules)
    (directory / "apache.conf").write_text(f"""\
ServerRoot {directory}
PidFile {directory}/apache.pid
ErrorLog {directory}/apache-error.log
ServerName localhost
User {as_nobody()}
Listen 127.0.0.1:{php}
Listen 127.0.0.1:{symfony}
{load}
LoadModule php_module {next(Path('/usr/lib/apache2/modules').glob('libphp8*.so'))}
TypesConfig /etc/mime.types
MaxKeepAliveRequests 0
KeepAliveTimeout 60
StartServers 6
MinSpareServers 4
<FilesMatch "\\.php$">
  SetHandler application/x-httpd-php
</FilesMatch>
DirectoryIndex index.php
<VirtualHost 127.0.0.1:{php}>
  AllowEncodedSlashes On
  DocumentRoot {SITES}/php
  <Directory {SITES}/php>
    Require all granted
    Options +MultiViews
    FallbackResource /index.php
  </Directory>
</VirtualHost>
<VirtualHost 127.0.0.1:{symfony}>
  AllowEncodedSlashes On
  DocumentRoot {SITES}/symfony
  <Directory {SITES}/symfony>
    Require all granted
    RewriteEngine On
    RewriteRule ^ index.php [L]
  </Directory>
</VirtualHost>
""")
    # It ends its whole process group with itself, so it gets one of its own.
    case.start("apache", ["/usr/sbin/apache2", "-f", directory / "apache.conf", "-DFOREGROUND"], symfony, start_new_session=True)
    return {"apache-php": php, "symfony": symfony}


def nginx(case, names):
    """Locations, some of them without case as macOS would have them; headers with odd names are let through."""
    if "nginx" not in names:
        return {}
    port, directory = free_port(), case.directory

    def answer(zone, more=""):
        return f'return 200 "one-view\\nvhost=$vhost\\nsubject=$http_x_auth_subject\\nzone={zone}\\n{more}";'

    temporary = "\n".join(f"  {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "fastcgi", "proxy", "uwsgi", "scgi"))
    (directory / "nginx-sites.conf").write_text(f"""\
daemon off;
pid {directory}/nginx-sites.pid;
error_log {directory}/nginx-sites-error.log crit;
worker_processes 1;
events {{}}
http {{
  access_log off;
{temporary}
  default_type text/plain;
  keepalive_requests 1000000;
  underscores_in_headers on;
  ignore_invalid_headers off;
  map $host $vhost {{ default other; ~^admin\\. admin; }}
  # Values are not decoded: one with a percent sign is no organisation that there is.
  map $arg_org $known {{ default orders; ~% unknown; }}
  server {{
    listen 127.0.0.1:{port};
    location ~* ^/admin(/|$) {{ {answer('strict')} }}
    location = /desk/stock {{ {answer('strict')} }}
    location ~* ^/shop/[^/]+/keys$ {{ {answer('strict')} }}
    location ~ ^/orders(/[^/]+)?$ {{ {answer('$known', 'org=$arg_org')} }}
    location = /heads {{ {answer('heads', 'xorg=$http_x_org')} }}
    location ~ ^/things/[^/]+$ {{ {answer('things', 'method=$request_method')} }}
    location ~ ^/customers/(?<customer>[^/]+)$ {{ {answer('customers', 'customer=$customer')} }}
    location / {{ {answer('lax')} }}
  }}
}}
""")
    case.start("nginx-sites", ["nginx", "-c", directory / "nginx-sites.conf", "-p", directory], port)
    return {"nginx": port}


def lighttpd(case, names):
    """Conditions on the URL. It serves files only, so it says nothing of queries and headers."""
    if "lighttpd" not in names:
        return {}
    port, root = free_port(), case.directory / "lighttpd"
    root.mkdir()
    files = {"strict": "zone=strict", "vhost": "vhost=admin", "lax": "zone=lax", "bob": "zone=customers\ncustomer=bob"}
    for name, text in files.items():
        (root / f"{name}.txt").write_text(f"one-view\n{text}\n")

    def condition(key, pattern, name):
        return f'$HTTP["{key}"] =~ "{pattern}" {{ url.rewrite-once = ("" => "/{name}.txt") }}'

    conditions = " else ".join([
        condition("host", "^admin\\.", "vhost"),
        condition("url", "^/(admin(/.*)?|desk/stock|shop/[^/]+/keys)$", "strict"),
        condition("url", "^/customers/bob$", "bob"),
    ])
    (case.directory / "lighttpd.conf").write_text(f"""\
server.modules = ("mod_rewrite", "mod_access")
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.max-keep-alive-requests = 65535
server.http-parseopts = ("host-strict" => "disable")
mimetype.assign = (".txt" => "text/plain")
{conditions} else {{ url.rewrite-once = ("" => "/lax.txt") }}
""")
    case.start("lighttpd", ["/usr/sbin/lighttpd", "-D", "-f", case.directory / "lighttpd.conf"], port)
    return {"lighttpd": port}


def gunicorn(case, names):
    """Debian's gunicorn with an application that reads PATH_INFO by itself, Flask, and Django."""
    ports = {}
    for site, module in (("gunicorn", "plain"), ("flask", "flasked"), ("django", "djangoed")):
        if site in names:
            ports[site] = free_port()
            case.start(site, ["gunicorn", "--chdir", SITES / "python", "--bind", f"127.0.0.1:{ports[site]}", "--workers", "1",
                              "--threads", "12", "--keep-alive", "60", "--graceful-timeout", "2", f"{module}:application"], ports[site])
    return ports


def node(case, names):
    """Express 4 and 5 with `method-override`, Fastify."""
    programs = {"express4": ["express.mjs", "express4"], "express5": ["express.mjs", "express"], "fastify": ["fastify.mjs"]}
    ports = {}
    for site, (script, *package) in programs.items():
        if site in names:
            ports[site] = free_port()
            case.start(site, [NODE, SITES / "node" / script, ports[site], *package], ports[site])
    return ports


def go(case, names):
    """Go's own router."""
    if "go" not in names:
        return {}
    port, program = free_port(), case.directory / "go-site"
    environment = os.environ | {"GOCACHE": str(case.directory / "go-cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "build", "-o", program, SITES / "go/main.go"], check=True, env=environment)
    case.start("go", [program, f"127.0.0.1:{port}"], port)
    return {"go": port}


def versions():
    """What each site runs on."""
    def module(name):
        return version(["/usr/bin/python3", "-c", f"import {name}; print({name}.__version__)"])

    def package(name):
        return version([NODE, "-p", f"JSON.parse(require('fs').readFileSync('{SITES.parents[1]}/node_modules/{name}/package.json')).version"])

    def debian(name):
        return version(["dpkg-query", "-W", "-f", "${Version}", name])

    node_version = version([NODE, "--version"]).removeprefix("v")
    gunicorn_version = f"gunicorn {debian('gunicorn')}"
    # Nobody asks a machine without Go for its site in Go.
    go_version = version(["go", "env", "GOVERSION"]).removeprefix("go") if shutil.which("go") else "(none)"
    tomcat_version, apache_version = f"Tomcat {debian('tomcat10')}", f"Apache {debian('apache2')}, PHP {debian('libapache2-mod-php8.2')}"
    return {
        "tomcat": tomcat_version, "tomcat-decode": f"{tomcat_version}, encoded slashes decoded",
        "apache-php": apache_version, "symfony": f"{apache_version}, Symfony {debian('php-symfony-routing')}",
        "nginx": f"nginx {debian('nginx')}", "lighttpd": f"lighttpd {debian('lighttpd')}",
        "gunicorn": f"{gunicorn_version}, PATH_INFO", "flask": f"{gunicorn_version}, Flask {module('flask')}",
        "django": f"{gunicorn_version}, Django {module('django')}",
        "express4": f"Node {node_version}, Express {package('express4')}", "express5": f"Node {node_version}, Express {package('express')}",
        "fastify": f"Node {node_version}, Fastify {package('fastify')}", "go": f"Go {go_version} net/http",
    }


def wait_for(ports):
    """Waits until every site answers."""
    for site, port in ports.items():
        wait_until(lambda port=port: b"zone=lax" in curl([f"http://127.0.0.1:{port}/hello"]).body, f"{site} answers")
