package replay

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/config"
)

var update = flag.Bool("update", false, "write what is said of the wrong maps into them")

// TestWrongMaps: every file holds one fault, and in its first line what is said of it.
func TestWrongMaps(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, rest, _ := strings.Cut(string(data), "\n")
			_, err = ParseMap(filepath.Base(file), data, nil)
			var fault *config.Error
			if !errors.As(err, &fault) {
				t.Fatalf("error %v", err)
			}
			got := "# want: " + fault.Error()
			if *update {
				write(t, file, got+"\n"+rest)
				return
			}
			if diff := cmp.Diff(first, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestShortForm(t *testing.T) {
	good := []string{"time=t", "user_id=u", "type=kind"}
	for _, c := range []struct {
		name         string
		columns, set []string
		want         string
	}{
		{"good", good, []string{"jurisdiction=CN", "order.currency=EUR"}, ""},
		{"no jurisdiction", good, nil, "--columns: jurisdiction must be set, by set: {jurisdiction: CN} or a column; it decides what a person's silence means"},
		{"unknown field", append(good, "amount=x"), []string{"jurisdiction=CN"}, "--columns: amount: unknown field of the event; see the table of fields in the API's description"},
		{"unknown constant", good, []string{"jurisdictin=CN"}, "--set: jurisdictin: unknown field of the event; did you mean jurisdiction?"},
		{"not an entry", []string{"time"}, nil, "--columns: must be field=column,…"},
		{"twice", append(good, "time=t2"), nil, "--columns: time: must be given once"},
		{"both", good, []string{"jurisdiction=CN", "type=login"}, "--set: type: must not be mapped to a column, too"},
		{"bad word", good, []string{"jurisdiction=CN", "channel=fax"}, "--columns: channel: unknown channel; it must be one of web app applet server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if _, err := Columns(c.columns, c.set); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	m, err := LoadMap("testdata/fraud.yaml", []string{"jurisdiction=EU"})
	if err != nil || m.set["jurisdiction"] != "EU" {
		t.Errorf("--set does not override the map: %v, %v", m.set, err)
	}
	if _, err := LoadMap("testdata/none.yaml", nil); err == nil || err.Error() != "testdata/none.yaml: must be a readable map file: no such file or directory" {
		t.Errorf("a map that is not there: %v", err)
	}
}
