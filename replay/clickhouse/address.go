// Package clickhouse reads the rows of a ClickHouse table as text cells, for replays, in the order of their times.
package clickhouse

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// Scheme begins every address.
const Scheme = "clickhouse://"

// Address says which table is read, and which of its rows.
type Address struct {
	Host           string // host:port
	User           string
	HTTP           bool // else the native protocol
	TLS            bool
	Database       string
	Table          string
	Time           string    // the column that rows are ordered by
	From, To       time.Time // rows with From ≤ time < To; zero = no bound
	fromSet, toSet bool
}

// WrongError is a fault of the address or of what it names: no retry mends it. It holds no password and no value of a row.
type WrongError struct{ Message string }

func (e *WrongError) Error() string { return e.Message }

func wrong(message string) error { return &WrongError{message} }

const form = "clickhouse://user@host:port/database/table?from=2026-01-01&to=2026-02-01"

// ParseAddress reads clickhouse://user@host:port/database/table, with the parameters from and to (a day or an RFC 3339 time), time (a column; "time" if
// absent), protocol (native or http) and secure (true or false). The user is "default" if absent, the port the protocol's own. Errors are *WrongError.
func ParseAddress(raw string) (*Address, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme+"://" != Scheme || u.Hostname() == "" {
		return nil, wrong("must be an address such as " + form) // the error of url.Parse quotes the address
	}
	a := &Address{User: "default", Time: "time"}
	if u.User != nil {
		if _, also := u.User.Password(); also {
			return nil, wrong("must be without a password: SLUICE_CLICKHOUSE_PASSWORD holds it")
		}
		a.User = u.User.Username()
	}
	var ok bool
	if a.Database, a.Table, ok = strings.Cut(strings.Trim(u.Path, "/"), "/"); !ok || a.Database == "" || strings.Contains(a.Table, "/") {
		return nil, wrong("must name a database and a table after the host: " + form)
	}
	parameters, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, wrong("must have parameters such as ?from=2026-01-01&to=2026-02-01")
	}
	for name, values := range parameters {
		if err := a.set(name, values[len(values)-1]); err != nil {
			return nil, err
		}
	}
	if a.fromSet && a.toSet && !a.From.Before(a.To) {
		return nil, wrong("from: must be before to")
	}
	a.Host = net.JoinHostPort(u.Hostname(), a.port(u.Port()))
	return a, nil
}

func (a *Address) set(name, value string) error {
	var ok bool
	switch name {
	case "from":
		if a.From, ok = parseTime(value); !ok {
			return wrong("from: must be a day such as 2026-01-01 or an RFC 3339 time")
		}
		a.fromSet = true
	case "to":
		if a.To, ok = parseTime(value); !ok {
			return wrong("to: must be a day such as 2026-02-01 or an RFC 3339 time")
		}
		a.toSet = true
	case "time":
		if value == "" {
			return wrong("time: must be the name of a column")
		}
		a.Time = value
	case "protocol":
		if value != "native" && value != "http" {
			return wrong("protocol: must be native or http")
		}
		a.HTTP = value == "http"
	case "secure":
		if value != "true" && value != "false" {
			return wrong("secure: must be true or false")
		}
		a.TLS = value == "true"
	default:
		return wrong("unknown parameter; must be one of from, to, time, protocol, secure")
	}
	return nil
}

// parseTime reads a day, which begins at midnight UTC, or an RFC 3339 time.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// port is the port, or the one that a server has by default.
func (a *Address) port(given string) string {
	switch {
	case given != "":
		return given
	case a.HTTP && a.TLS:
		return "8443"
	case a.HTTP:
		return "8123"
	case a.TLS:
		return "9440"
	default:
		return "9000"
	}
}
