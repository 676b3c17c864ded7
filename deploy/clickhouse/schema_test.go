package schema_test

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	schema "sluice/deploy/clickhouse"
	"sluice/internal/config"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	"sluice/privacyfilter/tables"
	risktables "sluice/risk/tables"
)

// sources are all sources of the warehouse.
func sources(tb testing.TB) []*warehouse.Source {
	tb.Helper()
	file, err := config.Parse("register.yaml", privacyfilter.Defaults)
	if err != nil {
		tb.Fatal(err)
	}
	reg, err := privacyfilter.Load(func(name string) config.Section {
		s, _ := file.Section(name)
		return s
	})
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Concat(tables.Sources(reg, nil), risktables.Sources(reg))
}

func allTables(tb testing.TB) (out []*warehouse.Table) {
	tb.Helper()
	for _, s := range sources(tb) {
		out = append(out, s.Tables...)
	}
	return out
}

var (
	created = regexp.MustCompile(`(?s)CREATE TABLE IF NOT EXISTS (\w+)\n\(\n(.*?)\n\)\n(.*?);\n`)
	added   = regexp.MustCompile(`(?m)^ALTER TABLE (\w+) ADD COLUMN IF NOT EXISTS (\w+) .*?(?: AFTER (\w+))?;$`)
	column  = regexp.MustCompile("(?m)^    [`]?(\\w+)[`]? +\\w")
	ordered = regexp.MustCompile(`ORDER BY \((.*)\)`)

	// retired are columns of rows that were stored before; no row gets one any more.
	retired = []string{"item_quantities"}
)

// TestTablesAreTheDeclaredOnes: the same columns in the same order, sorted by the day and the key.
func TestTablesAreTheDeclaredOnes(t *testing.T) {
	files, err := fs.Glob(schema.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	definitions, later := map[string][]string{}, map[string][][]string{}
	for _, name := range files {
		content, err := fs.ReadFile(schema.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range created.FindAllStringSubmatch(string(content), -1) {
			definitions[found[1]] = found[2:]
		}
		for _, found := range added.FindAllStringSubmatch(string(content), -1) {
			later[found[1]] = append(later[found[1]], found[2:])
		}
	}
	for _, table := range allTables(t) {
		definition := definitions[table.Name]
		if definition == nil {
			t.Errorf("%s: no such table", table.Name)
			continue
		}
		var got, want []string
		for _, found := range column.FindAllStringSubmatch(definition[0], -1) {
			got = append(got, found[1])
		}
		for _, one := range later[table.Name] {
			at := len(got)
			if one[1] != "" {
				at = slices.Index(got, one[1]) + 1
			}
			got = slices.Insert(got, at, one[0])
		}
		got = slices.DeleteFunc(got, func(name string) bool { return slices.Contains(retired, name) })
		for _, c := range table.Columns {
			want = append(want, c.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: columns\n%v\nwant\n%v", table.Name, got, want)
		}
		key := append([]string{"toDate(" + table.Time + ")", table.Subject}, slices.DeleteFunc(slices.Clone(table.Key), func(name string) bool { return name == table.Subject })...)
		if found := ordered.FindStringSubmatch(definition[1]); found == nil || found[1] != strings.Join(key, ", ") {
			t.Errorf("%s: %v, want ORDER BY %v", table.Name, found, key)
		}
	}
}
