package broker

import (
	"strings"
	"testing"

	"sluice/internal/topics"
)

// TestPartitionsAreKept: a directory keeps the number that it was made with, whatever is asked for later.
func TestPartitionsAreKept(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name  string
		asked int32
		want  string // in the error; "" if it starts
	}{
		{"new", 2, ""},
		{"no wish", 0, ""},
		{"the same", 2, ""},
		{"another", 3, "kafka.partitions must be 2"},
	} {
		b, err := Start(Options{Dir: dir, Partitions: c.asked})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: the error is %v; it must say %q", c.name, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Fatal(c.name, err)
		}
		cluster := b.Cluster("test.")
		if n := cluster.PartitionCount(); n != 2 {
			t.Errorf("%s: %d partitions", c.name, n)
		}
		if err := topics.Create(t.Context(), cluster, 1); err != nil {
			t.Error(c.name, err)
		}
		if drift, err := topics.Check(t.Context(), cluster, 1); err != nil || len(drift) > 0 {
			t.Errorf("%s: %v (%v)", c.name, drift, err)
		}
		b.Close()
	}
}
