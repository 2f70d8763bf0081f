// The same site on Go's net/http: `main ADDRESS`.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
)

var keys = regexp.MustCompile(`^/shop/[^/]+/keys$`)
var one = regexp.MustCompile(`^/(things|customers|orders)/([^/]+)$`)

func answer(zone string, more func(*http.Request) []string) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		host, _, err := net.SplitHostPort(request.Host)
		if err != nil {
			host = request.Host
		}
		vhost := "other"
		if strings.HasPrefix(strings.ToLower(host), "admin.") {
			vhost = "admin"
		}
		lines := []string{"one-view", "vhost=" + vhost, "subject=" + strings.Join(request.Header.Values("X-Auth-Subject"), ",")}
		lines = append(lines, "zone="+zone)
		if more != nil {
			lines = append(lines, more(request)...)
		}
		writer.Header().Set("Content-Type", "text/plain")
		fmt.Fprintln(writer, strings.Join(lines, "\n"))
	}
}

func orders(request *http.Request) []string {
	lines := []string{"org=" + request.FormValue("org"), "org=" + request.URL.Query().Get("org")}
	for _, value := range request.Form["org"] {
		lines = append(lines, "org="+value)
	}
	return lines
}

func heads(request *http.Request) []string {
	lines := []string{"xorg=" + request.Header.Get("X-Org")}
	for _, value := range request.Header.Values("X-Org") {
		lines = append(lines, "xorg="+value)
	}
	return lines
}

func method(request *http.Request) []string {
	for _, override := range []string{request.Header.Get("X-HTTP-Method-Override"), request.URL.Query().Get("_method")} {
		if override != "" {
			return []string{"method=" + strings.ToUpper(override)}
		}
	}
	return []string{"method=" + request.Method}
}

func rest(writer http.ResponseWriter, request *http.Request) {
	found := one.FindStringSubmatch(request.URL.Path)
	switch {
	case keys.MatchString(request.URL.Path):
		answer("strict", nil)(writer, request)
	case found != nil && found[1] == "orders":
		answer("orders", orders)(writer, request)
	case found != nil && found[1] == "things":
		answer("things", method)(writer, request)
	case found != nil:
		answer("customers", func(*http.Request) []string { return []string{"customer=" + found[2]} })(writer, request)
	default:
		answer("lax", nil)(writer, request)
	}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/admin", answer("strict", nil))
	mux.HandleFunc("/admin/", answer("strict", nil))
	mux.HandleFunc("/desk/stock", answer("strict", nil))
	mux.HandleFunc("/orders", answer("orders", orders))
	mux.HandleFunc("/heads", answer("heads", heads))
	mux.HandleFunc("/", rest)
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[1], mux))
}
