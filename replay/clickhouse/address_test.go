package clickhouse

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseAddress(t *testing.T) {
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for raw, want := range map[string]Address{
		"clickhouse://h/d/t":                                {Host: "h:9000", User: "default", Database: "d", Table: "t", Time: "time"},
		"clickhouse://ann@h:1/d/t?secure=false":             {Host: "h:1", User: "ann", Database: "d", Table: "t", Time: "time"},
		"clickhouse://h/d/t?protocol=http":                  {Host: "h:8123", User: "default", Database: "d", Table: "t", Time: "time", HTTP: true},
		"clickhouse://h/d/t?protocol=http&secure=true":      {Host: "h:8443", User: "default", Database: "d", Table: "t", Time: "time", HTTP: true, TLS: true},
		"clickhouse://[::1]/d/t?secure=true&time=at":        {Host: "[::1]:9440", User: "default", Database: "d", Table: "t", Time: "at", TLS: true},
		"clickhouse://h/d/t?from=2026-01-01":                {Host: "h:9000", User: "default", Database: "d", Table: "t", Time: "time", From: day},
		"clickhouse://h/d/t?to=2026-01-01T08:00:00%2B08:00": {Host: "h:9000", User: "default", Database: "d", Table: "t", Time: "time", To: day},
	} {
		got, err := ParseAddress(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if diff := cmp.Diff(want, *got, cmpopts.IgnoreUnexported(Address{})); diff != "" {
			t.Errorf("%s: %s", raw, diff)
		}
	}
}

func TestWrongAddresses(t *testing.T) {
	for raw, want := range map[string]string{
		"clickhouse://":                                    "must be an address such as clickhouse://user@host:port/database/table",
		"clickhouse://h:x/d/t":                             "must be an address such as clickhouse://user@host:port/database/table",
		"http://h/d/t":                                     "must be an address such as clickhouse://user@host:port/database/table",
		"clickhouse://ann:secret@h/d/t":                    "must be without a password: SLUICE_CLICKHOUSE_PASSWORD holds it",
		"clickhouse://h/d":                                 "must name a database and a table after the host",
		"clickhouse://h/d/":                                "must name a database and a table after the host",
		"clickhouse://h/d/t/u":                             "must name a database and a table after the host",
		"clickhouse://h/d/t?from=yesterday":                "from: must be a day such as 2026-01-01 or an RFC 3339 time",
		"clickhouse://h/d/t?to=x":                          "to: must be a day such as 2026-02-01 or an RFC 3339 time",
		"clickhouse://h/d/t?time=":                         "time: must be the name of a column",
		"clickhouse://h/d/t?protocol=tcp":                  "protocol: must be native or http",
		"clickhouse://h/d/t?secure=1":                      "secure: must be true or false",
		"clickhouse://h/d/t?limit=1":                       "unknown parameter; must be one of from, to, time, protocol, secure",
		"clickhouse://h/d/t?%zz":                           "must have parameters such as ?from=2026-01-01&to=2026-02-01",
		"clickhouse://h/d/t?from=2026-02-01&to=2026-02-01": "from: must be before to",
	} {
		_, err := ParseAddress(raw)
		var fault *WrongError
		if !errors.As(err, &fault) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestUnreachable: a server that is not there is no fault of the address.
func TestUnreachable(t *testing.T) {
	for _, raw := range []string{"clickhouse://127.0.0.1:1/d/t", "clickhouse://127.0.0.1:1/d/t?protocol=http"} {
		a, err := ParseAddress(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(t.Context(), a, "secret")
		var fault *WrongError
		if err == nil || errors.As(err, &fault) || !strings.HasPrefix(err.Error(), "connecting to ClickHouse at 127.0.0.1:1: ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestTypes(t *testing.T) {
	for typ, want := range map[string]string{
		"String":                           "toString(`c`)",
		"LowCardinality(Nullable(String))": "ifNull(toString(`c`), '')",
		"FixedString(3)":                   "toStringCutToZero(`c`)",
		"DateTime64(6, 'UTC')":             "concat(replaceOne(toString(toTimeZone(`c`, 'UTC')), ' ', 'T'), 'Z')",
		"Date":                             "toString(`c`)",
		"Array(String)":                    "if(empty(`c`), '', toJSONString(`c`))",
		"Array(Int64)":                     "if(empty(`c`), '', concat('[', arrayStringConcat(arrayMap(x -> toString(x), `c`), ','), ']'))",
		"Map(String, String)":              "toJSONString(`c`)",
	} {
		if got := (column{"c", typ}).expression(false); got != want {
			t.Errorf("%s is %s, expected %s", typ, got, want)
		}
	}
	if got := (column{"a`b", "String"}).expression(true); got != "lower(hex(`a\\`b`))" {
		t.Errorf("bytes are %s", got)
	}
	for engine, want := range map[string]bool{"MergeTree": false, "ReplacingMergeTree": true, "SharedReplacingMergeTree": true, "View": false, "ReplicatedMergeTree": false} {
		if merges(engine) != want {
			t.Errorf("%s merges: %v", engine, !want)
		}
	}
}
