package parquet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/pace"
	"sluice/internal/warehouse"
)

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	table := visits()
	s, src := openStore(t, dir, table), source(visits())
	src.Tables[0] = table
	var rows []visit
	for i := range 10_000 {
		rows = append(rows, visitAt(i%700, i, day0.Add(time.Duration(i)*time.Minute), "f1"))
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 0, 6000, rows[:6000]), block(t, src, 1, 0, 4000, rows[6000:])}))
	if diff := cmp.Diff(sorted(rows), sorted(all(t, s, table))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if n := len(files(t, dir)); n != 7 {
		t.Errorf("%d files, expected one a day", n)
	}
	from, to := day0.Add(30*time.Hour), day0.Add(50*time.Hour)
	if n := len(between(t, s, table, from, to)); n != 20*60 {
		t.Errorf("%d rows of 20 hours", n)
	}
	n := 0
	must(t, s.Scan(t.Context(), table, []string{"items", "time"}, from, to, func(b *warehouse.Batch) error {
		if len(b.Table.Columns) != 2 || b.Table.Columns[0].Name != "items" || len(b.Values) != 2 || b.Filled(b.Rows()) != nil {
			t.Errorf("columns %v", b.Table.Columns)
		}
		n += b.Rows()
		return nil
	}))
	if n != 20*60 {
		t.Errorf("%d rows of 20 hours in two columns", n)
	}
	must(t, s.Close())
	if diff := cmp.Diff(sorted(rows), sorted(all(t, openStore(t, dir, table), table))); diff != "" {
		t.Errorf("rows after opening again (-want +got):\n%s", diff)
	}
}

func TestBlocksAreStoredOnce(t *testing.T) {
	dir := t.TempDir()
	table := visits()
	src := source(table)
	s, err := Open(dir, []*warehouse.Table{table}, Options{Sync: true})
	must(t, err)
	b := block(t, src, 3, 10, 20, []visit{visitAt(1, 1, day0, "f")})
	must(t, s.Append(t.Context(), []*warehouse.Block{b, b}))
	must(t, s.Append(t.Context(), []*warehouse.Block{b}))
	must(t, s.Close())
	s = openStore(t, dir, table)
	must(t, s.Append(t.Context(), []*warehouse.Block{b, block(t, src, 4, 10, 20, []visit{visitAt(2, 2, day0, "f")})}))
	if rows := all(t, s, table); len(rows) != 2 {
		t.Errorf("%d rows, expected 2", len(rows))
	}
	err = s.Append(t.Context(), []*warehouse.Block{block(t, src, 3, 15, 30, nil)})
	if err == nil || !strings.Contains(err.Error(), "at or after 20") {
		t.Errorf("a block that overlaps: %v", err)
	}
}

// TestPurge deletes one event, all under other floors, and everything, in stored rows and in rows that came with the purge.
func TestPurge(t *testing.T) {
	table := visits()
	src := source(table)
	dir := t.TempDir()
	s := openStore(t, dir, table)
	row := func(subject, event int, floor string) visit {
		return visitAt(subject, event, day0.Add(time.Duration(event)*time.Hour), floor)
	}
	subject := func(n int) []byte { return []byte(row(n, 0, "").Subject) }
	check := func(what string, want ...visit) {
		t.Helper()
		if diff := cmp.Diff(sorted(want), sorted(all(t, s, table))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	a1, a2, a3, b1 := row(1, 1, "f1"), row(1, 2, "f1"), row(1, 50, "f1"), row(2, 4, "f1")
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 0, 10, []visit{a1, a2, a3, b1})}))
	byEvent := block(t, src, 0, 10, 20, []visit{row(2, 5, "f1")}, warehouse.Purge{Subject: subject(1), Event: []byte(a2.Event)}, warehouse.Purge{Subject: subject(2), Event: []byte(row(2, 5, "").Event)})
	must(t, s.Append(t.Context(), []*warehouse.Block{byEvent}))
	check("one event, stored and new", a1, a3, b1)

	// Denied, allowed again, and once more with another floor, in one change: what came after a purge stays.
	denied := block(t, src, 0, 20, 25, []visit{row(1, 6, "f1")}, warehouse.Purge{Subject: subject(1)})
	again := block(t, src, 0, 25, 30, []visit{row(1, 7, "f2")})
	risen := block(t, src, 0, 30, 35, []visit{row(1, 8, "f3"), row(1, 9, "f2")}, warehouse.Purge{Subject: subject(1), Floor: []byte("f3")})
	after := block(t, src, 0, 35, 40, []visit{row(1, 10, "f3")})
	must(t, s.Append(t.Context(), []*warehouse.Block{denied, again, risen, after}))
	check("denied, allowed again", row(1, 8, "f3"), row(1, 10, "f3"), b1)

	// The same blocks come again, as after a crash: their purges must not touch what came later.
	must(t, s.Append(t.Context(), []*warehouse.Block{denied, again}))
	check("purges again", row(1, 8, "f3"), row(1, 10, "f3"), b1)
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 40, 41, nil, warehouse.Purge{Subject: subject(1)}, warehouse.Purge{Subject: subject(2)})}))
	check("everything")
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("files without rows: %v", left)
	}
}

// TestScanDuringPurge: a scan that has the old files open gives none of the purged rows.
func TestScanDuringPurge(t *testing.T) {
	table := visits()
	src := source(table)
	s := openStore(t, t.TempDir(), table)
	var rows []visit
	for i := range 20_000 {
		rows = append(rows, visitAt(i%100, i, day0.Add(time.Duration(i)*time.Second), "f"))
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 0, 20_000, rows)}))
	var seen []visit
	purged := make(chan error, 1)
	var after bool
	must(t, s.Scan(t.Context(), table, []string{"subject"}, day0, day0.AddDate(0, 0, 1), func(b *warehouse.Batch) error {
		if len(seen) == 0 {
			var purges []warehouse.Purge
			for i := range 100 {
				purges = append(purges, warehouse.Purge{Subject: []byte(visitAt(i, 0, day0, "").Subject)})
			}
			go func() {
				purged <- s.Append(context.Background(), []*warehouse.Block{block(t, src, 0, 20_000, 20_001, nil, purges...)})
			}()
			for range b.Rows() {
				seen = append(seen, visit{})
			}
			for {
				s.mu.RLock()
				changed := s.version == 2
				s.mu.RUnlock()
				if changed {
					return nil
				}
			}
		}
		select {
		case err := <-purged:
			must(t, err)
			after = true
		default:
		}
		if after {
			t.Error("rows were given after their purge was done")
		}
		return nil
	}))
	if !after {
		must(t, <-purged)
	}
	if left := all(t, s, table); len(left) != 0 {
		t.Errorf("%d rows left", len(left))
	}
}

func TestMergeAndExpire(t *testing.T) {
	table := visits()
	src := source(table)
	dir := t.TempDir()
	s := openStore(t, dir, table)
	random := rand.New(rand.NewPCG(1, 2))
	var rows []visit
	for i := range 300 {
		var some []visit
		for j := range 20 {
			some = append(some, visitAt(random.IntN(50), i*20+j, day0.Add(time.Duration(random.Int64N(int64(24*time.Hour)))), "f"))
		}
		rows = append(rows, some...)
		must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, int64(i), int64(i+1), some)}))
		must(t, s.Tidy(t.Context()))
		if n := len(files(t, dir)); n > 3*(mergeFiles-1) {
			t.Fatalf("%d files of one day", n)
		}
	}
	if diff := cmp.Diff(sorted(rows), sorted(all(t, s, table))); diff != "" {
		t.Errorf("rows after merging (-want +got):\n%s", diff)
	}
	must(t, s.Expire(t.Context(), day0.Add(72*time.Hour)))
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files of a day that has ended", n)
	}
	if diff := cmp.Diff(sorted(rows), sorted(all(t, s, table))); diff != "" {
		t.Errorf("rows of a settled day (-want +got):\n%s", diff)
	}
	must(t, s.Expire(t.Context(), day0.Add(30*24*time.Hour+12*time.Hour)))
	if n := len(all(t, s, table)); n != len(rows) {
		t.Errorf("%d rows of a day that is still kept in part", n)
	}
	must(t, s.Expire(t.Context(), day0.Add(31*24*time.Hour)))
	if n := len(files(t, dir)); n != 0 {
		t.Errorf("%d files of an expired day", n)
	}
}

// TestAppendDuringMerge: a purge does not wait for a merge, and what it deletes does not come back with the merged file.
func TestAppendDuringMerge(t *testing.T) {
	table := visits()
	src := source(table)
	dir := t.TempDir()
	s := openStore(t, dir, table)
	var rows []visit
	for i := range int64(3) {
		var some []visit
		for j := range 10_000 {
			some = append(some, visitAt(j%100, int(i)*10_000+j, day0.Add(time.Duration(j)*time.Second), "f"))
		}
		rows = append(rows, some...)
		must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, i, i+1, some)}))
	}
	gone, appended := rows[0].Subject, 0
	during := func() bool { // the merge's goroutine is asked in the middle of it: an Append that waited for the merge would never end
		if appended++; appended == 1 {
			must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 3, 4, nil, warehouse.Purge{Subject: []byte(gone)})}))
		}
		return true
	}
	known := s.tables[table.Name]
	day := dayOf(day0.UnixMicro())
	must(t, s.mergeBeside(pace.With(t.Context(), pace.New(during)), known, day, 1, func() []*file { return s.smallOf(known, day, 0) }))
	if appended == 0 {
		t.Fatal("the merge did not yield")
	}
	if n := len(files(t, dir)); n != 1 {
		t.Errorf("%d files, expected the merged one", n)
	}
	want := slices.DeleteFunc(rows, func(v visit) bool { return v.Subject == gone })
	if diff := cmp.Diff(sorted(want), sorted(all(t, s, table))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestLargeFiles purges in files of several row groups: those without the subject are copied.
func TestLargeFiles(t *testing.T) {
	table := visits()
	src := source(table)
	s := openStore(t, t.TempDir(), table)
	var rows, want []visit
	for i := range 3*groupRows + 100 {
		rows = append(rows, visitAt(i%30_011, i, day0.Add(time.Duration(i)*time.Millisecond), "f"))
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 0, 1, rows)}))
	purges := []warehouse.Purge{{Subject: []byte(rows[17].Subject)}, {Subject: []byte(rows[4711].Subject), Event: []byte(rows[4711].Event)}}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 1, 2, nil, purges...)}))
	for i, r := range rows {
		if i%30_011 != 17 && i != 4711 {
			want = append(want, r)
		}
	}
	if diff := cmp.Diff(len(want), len(all(t, s, table))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if !slices.Equal(sorted(want), sorted(all(t, s, table))) {
		t.Error("other rows than expected are left")
	}
}

func TestOpenAfterCrash(t *testing.T) {
	table := visits()
	src := source(table)
	dir := t.TempDir()
	s := openStore(t, dir, table)
	b := block(t, src, 0, 0, 5, []visit{visitAt(1, 1, day0, "f")})
	must(t, s.Append(t.Context(), []*warehouse.Block{b}))

	// The process dies after the files are written and before the manifest tells of them, or in the middle of telling.
	c := s.begin()
	second := block(t, src, 0, 5, 9, []visit{visitAt(2, 2, day0, "f"), visitAt(2, 3, day0.AddDate(0, 0, 1), "f")})
	must(t, s.stage(t.Context(), c, []*warehouse.Block{second}))
	line, err := lineOf(&c.change)
	must(t, err)
	must(t, s.Close())
	manifest := filepath.Join(dir, manifestName)
	whole, err := os.ReadFile(manifest)
	must(t, err)
	for _, torn := range []int{0, 1, 20, len(line) - 1} {
		must(t, os.WriteFile(manifest, append(whole[:len(whole):len(whole)], line[:torn]...), 0o600))
		s = openStore(t, dir, table)
		if n := len(files(t, dir)); n != 1 {
			t.Fatalf("%d files, expected the one that was stored", n)
		}
		if rows := all(t, s, table); len(rows) != 1 {
			t.Fatalf("%d rows", len(rows))
		}
		must(t, s.Append(t.Context(), []*warehouse.Block{b, second}))
		if rows := all(t, s, table); len(rows) != 3 {
			t.Fatalf("%d rows after the block came again", len(rows))
		}
		must(t, s.Close())
		for _, path := range files(t, dir) {
			if !strings.HasSuffix(path, "day=2026-11-20/0000000001.parquet") {
				must(t, os.Remove(path))
			}
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	table := visits()
	src := source(table)
	build := func() string {
		dir := t.TempDir()
		s := openStore(t, dir, table)
		for i := range 3 {
			must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, int64(i), int64(i+1), []visit{visitAt(i, i, day0, "f")})}))
		}
		must(t, s.Close())
		return dir
	}
	edit := func(path string, change func([]byte) []byte) {
		data, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, change(data), 0o600))
	}
	cases := []struct {
		name   string
		damage func(dir string)
		want   string
	}{
		{"a changed byte", func(dir string) {
			edit(filepath.Join(dir, manifestName), func(b []byte) []byte { b[len(b)-30] ^= 1; return b })
		}, manifestName + ": line 4: damaged"},
		{"an empty manifest", func(dir string) {
			edit(filepath.Join(dir, manifestName), func([]byte) []byte { return nil })
		}, manifestName + ": damaged: must have a first line"},
		{"no manifest", func(dir string) { must(t, os.Remove(filepath.Join(dir, manifestName))) }, manifestName + " is missing"},
		{"a missing file", func(dir string) { must(t, os.Remove(files(t, dir)[1])) }, "0000000002.parquet"},
		{"a short file", func(dir string) {
			edit(files(t, dir)[1], func(b []byte) []byte { return b[:len(b)-1] })
		}, "0000000002.parquet is damaged"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := build()
			c.damage(dir)
			_, err := Open(dir, []*warehouse.Table{table}, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected %q in it", err, c.want)
			}
		})
	}
	t.Run("damaged rows", func(t *testing.T) {
		dir := build()
		edit(files(t, dir)[1], func(b []byte) []byte { copy(b[len(b)-200:], make([]byte, 100)); return b })
		s := openStore(t, dir, table)
		err := s.Scan(t.Context(), table, nil, day0, day0.AddDate(0, 0, 1), func(*warehouse.Batch) error { return nil })
		if err == nil {
			t.Error("a damaged file was read")
		}
	})
}

// TestManifestStaysSmall: what is told about files that are gone is forgotten.
func TestManifestStaysSmall(t *testing.T) {
	m, err := openManifest(t.TempDir(), "", false)
	must(t, err)
	defer m.close()
	for i := range 20_000 {
		c := &change{Number: uint64(i), Next: map[string]int64{"in/0": int64(i)}, Add: []*file{{Table: "t", Day: "2026-11-20", Name: strconv.Itoa(i)}}}
		if i > 0 {
			c.Drop = []string{(&file{Table: "t", Day: "2026-11-20", Name: strconv.Itoa(i - 1)}).path()}
		}
		must(t, m.write(c))
		m.apply(c)
		if m.overgrown() {
			must(t, m.rewrite())
		}
	}
	if info, err := m.file.Stat(); err != nil || info.Size() > 2*slackBytes || info.Size() != m.size {
		t.Errorf("a manifest of %d bytes, %v", info.Size(), err)
	}
	if len(m.live) != 1 || m.next["in/0"] != 19_999 {
		t.Errorf("%d files, next %v", len(m.live), m.next)
	}
}

func TestNewColumn(t *testing.T) {
	dir := t.TempDir()
	old := visits()
	old.Columns = old.Columns[:8]
	s := openStore(t, dir, old)
	b := warehouse.NewBatch(old)
	b.Bytes([]byte("s"))
	b.Bytes([]byte("e"))
	b.Int(day0.UnixMicro())
	b.Bytes([]byte("f"))
	b.String("view")
	b.Int(1)
	b.Uint(2)
	b.Bool(true)
	must(t, b.End())
	src := source(old)
	must(t, s.Append(t.Context(), []*warehouse.Block{{Source: src, First: 0, Next: 1, Batches: []*warehouse.Batch{b}}}))
	must(t, s.Close())
	table := visits()
	s = openStore(t, dir, table)
	n := 0
	must(t, s.Scan(t.Context(), table, nil, day0, day0.AddDate(0, 0, 1), func(b *warehouse.Batch) error {
		n += b.Rows()
		if b.Values[4].String(0) != "view" || len(b.Values[8].Strings(0)) != 0 {
			t.Error("an old row came back changed")
		}
		return nil
	}))
	if n != 1 {
		t.Errorf("%d rows", n)
	}
	table.Columns[5].Kind = warehouse.String
	must(t, s.Close())
	err := openStore(t, dir, table).Scan(t.Context(), table, nil, day0, day0.AddDate(0, 0, 1), func(*warehouse.Batch) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "column amount") {
		t.Errorf("a column of another type: %v", err)
	}
}

// TestRandom does what a writer does, with retries, failures and restarts, beside a model in memory.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	table := visits()
	src := source(table)
	dir := t.TempDir()
	s := openStore(t, dir, table)
	var want []visit
	next := make([]int64, 4)
	events := 0
	make1 := func() *warehouse.Block {
		p := random.Int32N(4)
		var rows []visit
		for range random.IntN(30) {
			events++
			rows = append(rows, visitAt(int(p)+4*random.IntN(10), events, day0.Add(time.Duration(random.Int64N(int64(60*time.Hour)))), fmt.Sprint("f", random.IntN(3))))
		}
		want = append(want, rows...)
		var purges []warehouse.Purge
		if random.IntN(3) == 0 {
			purge := warehouse.Purge{Subject: []byte(visitAt(int(p)+4*random.IntN(10), 0, day0, "").Subject)}
			switch random.IntN(3) {
			case 0:
				purge.Floor = fmt.Appendf(nil, "f%d", random.IntN(3))
			case 1:
				purge.Event = []byte(visitAt(0, 1+random.IntN(events+1), day0, "").Event)
			}
			purges = append(purges, purge)
			kept := want[:0:0]
			for _, r := range want {
				if r.Subject != string(purge.Subject) || !purge.Deletes(table, []byte(r.Event), []byte(r.Floor)) {
					kept = append(kept, r)
				}
			}
			want = kept
		}
		b := block(t, src, p, next[p], next[p]+100, rows, purges...)
		next[p] += 100
		return b
	}
	var stored []*warehouse.Block
	for range 300 {
		var blocks []*warehouse.Block
		for range 1 + random.IntN(4) {
			blocks = append(blocks, make1())
		}
		if len(stored) > 0 && random.IntN(4) == 0 {
			blocks = append([]*warehouse.Block{stored[random.IntN(len(stored))]}, blocks...)
		}
		for random.IntN(4) == 0 {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Append(ctx, blocks); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		must(t, s.Append(t.Context(), blocks))
		stored = append(stored, blocks...)
		if random.IntN(5) == 0 {
			must(t, s.Tidy(t.Context()))
		}
		if random.IntN(20) == 0 {
			must(t, s.Close())
			s = openStore(t, dir, table)
		}
		if random.IntN(30) == 0 {
			must(t, s.Expire(t.Context(), day0.Add(time.Duration(random.IntN(5))*24*time.Hour)))
		}
	}
	if diff := cmp.Diff(sorted(want), sorted(all(t, s, table))); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestDeployment: a log that was started anew has the same offsets, and nothing of it is stored.
func TestDeployment(t *testing.T) {
	dir := t.TempDir()
	table := visits()
	src := source(table)
	open := func(deployment string) *Store {
		s, err := Open(dir, []*warehouse.Table{table}, Options{Deployment: deployment})
		must(t, err)
		t.Cleanup(func() { s.Close() })
		return s
	}
	add := func(s *Store, event, rows int) {
		t.Helper()
		must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 0, 0, 10, []visit{visitAt(1, event, day0, "f")})}))
		if n := len(all(t, s, table)); n != rows {
			t.Errorf("%d rows, expected %d", n, rows)
		}
		must(t, s.Close())
	}
	add(open("shop.1"), 1, 1)
	add(open("shop.2"), 2, 2)
	add(open("shop.1"), 3, 2)
	s := open("shop.2")
	if next, known := s.Next("in", 0); next != 10 || !known {
		t.Errorf("the partition is stored up to %d (%t)", next, known)
	}
	if _, known := s.Next("in", 1); known {
		t.Error("a partition of which nothing is stored is known")
	}
}

// TestManifestWithoutDeployments: what it tells becomes that of the first deployment that opens it, and of no other.
func TestManifestWithoutDeployments(t *testing.T) {
	dir := t.TempDir()
	line, err := lineOf(&change{Format: 1, Next: map[string]int64{"in/0": 10}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, manifestName), line, 0o600))
	for _, deployment := range []string{"shop.1", "shop.2", "shop.1"} {
		s, err := Open(dir, []*warehouse.Table{visits()}, Options{Deployment: deployment})
		must(t, err)
		if next, known := s.Next("in", 0); known != (deployment == "shop.1") || known && next != 10 {
			t.Errorf("%s: stored up to %d (%t)", deployment, next, known)
		}
		must(t, s.Close())
	}
	line, err = lineOf(&change{Format: manifestFormat + 1})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, manifestName), line, 0o600))
	if _, err := Open(dir, []*warehouse.Table{visits()}, Options{}); err == nil || !strings.Contains(err.Error(), "format must be at most 2") {
		t.Errorf("a manifest of a later version: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, visits())
	if _, err := Open(dir, []*warehouse.Table{visits()}, Options{}); err == nil || !strings.Contains(err.Error(), "the directory "+dir+" is in use") {
		t.Errorf("a second store: %v", err)
	}
	must(t, s.Close())
	manifest := filepath.Join(dir, manifestName)
	whole, err := os.ReadFile(manifest)
	must(t, err)
	must(t, os.WriteFile(manifest, nil, 0o600))
	if _, err := Open(dir, []*warehouse.Table{visits()}, Options{}); err == nil {
		t.Error("an empty manifest was opened")
	}
	must(t, os.WriteFile(manifest, whole, 0o600))
	must(t, openStore(t, dir, visits()).Close()) // neither Close nor an error keeps the lock
}

// TestPurgeAfterNewColumn purges in a file from before the table gained columns: also its row groups without the subject get them.
func TestPurgeAfterNewColumn(t *testing.T) {
	dir := t.TempDir()
	old := visits()
	old.Columns = old.Columns[:5]
	s := openStore(t, dir, old)
	const rows = groupRows + 100
	b := warehouse.NewBatch(old)
	for i := range rows {
		b.Bytes(fmt.Appendf(nil, "subject %06d", i))
		b.Bytes(fmt.Appendf(nil, "event %06d", i))
		b.Int(day0.UnixMicro() + int64(i))
		b.Bytes([]byte("f"))
		b.String("view")
		must(t, b.End())
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{{Source: source(old), First: 0, Next: 1, Batches: []*warehouse.Batch{b}}}))
	must(t, s.Close())
	table := visits()
	s = openStore(t, dir, table)
	purge := warehouse.Purge{Subject: []byte("subject 000007")}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, source(table), 0, 1, 2, nil, purge)}))
	n := 0
	must(t, s.Scan(t.Context(), table, nil, day0, day0.AddDate(0, 0, 1), func(b *warehouse.Batch) error {
		n += b.Rows()
		for i := range b.Rows() {
			if subject, event := b.Values[0].String(i), b.Values[1].String(i); subject[7:] != event[5:] || subject == string(purge.Subject) {
				t.Errorf("a row of %s with %s", subject, event)
			}
			if b.Values[4].String(i) != "view" || b.Values[5].Int(i) != 0 || len(b.Values[8].Strings(i)) != 0 {
				t.Error("an old row came back changed")
			}
		}
		return nil
	}))
	if n != rows-1 {
		t.Errorf("%d rows, expected %d", n, rows-1)
	}
}

// TestFailedCommitLeavesNoFiles: a change that is certainly not in the manifest leaves nothing on the disk, and the next one is stored.
func TestFailedCommitLeavesNoFiles(t *testing.T) {
	dir, table := t.TempDir(), visits()
	s := openStore(t, dir, table)
	src := source(table)
	c := s.begin()
	must(t, s.stage(t.Context(), c, []*warehouse.Block{block(t, src, 3, 10, 20, []visit{visitAt(1, 1, day0, "f")})}))
	c.Drop = append(c.Drop, "unknown.parquet")
	if err := s.commit(c); err == nil {
		t.Fatal("a file that is not there was dropped")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"+extension))
	if must(t, err); len(files) > 0 {
		t.Errorf("%v is left", files)
	}
	must(t, s.Append(t.Context(), []*warehouse.Block{block(t, src, 3, 10, 20, []visit{visitAt(1, 1, day0, "f")})}))
	if rows := all(t, s, table); len(rows) != 1 {
		t.Errorf("%d rows, expected 1", len(rows))
	}
}
