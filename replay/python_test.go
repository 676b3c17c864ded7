package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// python runs a script in a folder of its own. Each line that it prints names a file, what it must be read with, and the rows that Python reads of it.
func python(t *testing.T, module, script string) (dir string, files []pythonFile) {
	t.Helper()
	interpreter := os.Getenv("SLUICE_TEST_PYTHON")
	if interpreter == "" {
		interpreter = "python3"
	}
	if exec.CommandContext(t.Context(), interpreter, "-c", "import "+module).Run() != nil {
		t.Skipf("no Python with %s on this machine", module)
	}
	dir = t.TempDir()
	cmd := exec.CommandContext(t.Context(), interpreter, "-c", script)
	cmd.Dir = dir
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &faults)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var file pythonFile
		if err := json.Unmarshal(lines.Bytes(), &file); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if len(files) < 100 {
		t.Fatalf("%d files", len(files))
	}
	return dir, files
}

type pythonFile struct {
	Name      string
	Separator string
	Encoding  string
	Rows      [][]string
	Wrong     int // rows with another number of cells than the first line
}

// check reads the file and compares.
func (p *pythonFile) check(t *testing.T, dir string) {
	t.Helper()
	var rule layout
	if p.Separator != "" {
		rule.separator = p.Separator[0]
	}
	rule.encoding = p.Encoding
	s, err := openFile(filepath.Join(dir, p.Name), rule, new(atomic.Int64))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, bad, err := readRest(s.Reader, 1<<20)
	if err != nil || len(bad) != p.Wrong {
		t.Fatalf("%s: %v, bad rows %v, must be %d", p.Name, err, bad, p.Wrong)
	}
	if diff := cmp.Diff(p.Rows, rows); diff != "" && len(p.Rows)+len(rows) > 0 {
		t.Fatalf("%s: %s", p.Name, diff)
	}
}

// TestAgainstPythonCSV: files that Python's csv wrote, in random dialects and encodings, are read as it reads them itself.
func TestAgainstPythonCSV(t *testing.T) {
	dir, files := python(t, "csv", `
import csv, json, random
r = random.Random(7)
pieces = ['a', 'b', '"', '""', ',', ';', '\t', '|', '\n', '\r\n', ' ', 'é', '12', "'", '\\', 'x y']
wide = pieces + ['中', '😀', '\u2028', '\r']
for i in range(400):
    sep = r.choice([',', ';', '\t', '|'])
    enc, named = r.choice([('utf-8', ''), ('utf-8-sig', ''), ('utf-16', ''), ('utf-16-le', 'utf-16le'), ('latin-1', 'latin1'), ('gb18030', 'gb18030')])
    plain = r.random() < .25 and sep == '\t'
    name = '%d.%s' % (i, 'tsv' if plain else 'csv')
    quoting = csv.QUOTE_NONE if plain else r.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    dialect = dict(delimiter=sep, quoting=quoting, quotechar=None if plain else '"')
    columns = r.randint(2, 6)
    def cell():
        text = ''.join(r.choice(pieces if enc == 'latin-1' else wide) for _ in range(r.randint(0, 5)))
        if plain:
            for c in '\t\r\n': text = text.replace(c, ' ')
        return text
    with open(name, 'w', newline='', encoding=enc) as f:
        w = csv.writer(f, lineterminator=r.choice(['\n', '\r\n', '\r']), **dialect)
        w.writerow(['c%d' % k for k in range(columns)])
        for _ in range(r.randint(0, 30)):
            w.writerow([cell() for _ in range(columns if r.random() < .95 else columns + 1)])
    with open(name, newline='', encoding=enc) as f:
        rows = [row for row in csv.reader(f, **dialect) if row][1:]
    good = [row for row in rows if len(row) == columns]
    print(json.dumps(dict(Name=name, Separator=sep, Encoding=named, Rows=good, Wrong=len(rows) - len(good))))
`)
	for i := range files {
		files[i].check(t, dir)
	}
}

// TestAgainstPyArrow: Parquet files that pyarrow wrote, with nested columns and empty row groups, hold the rows that it says.
func TestAgainstPyArrow(t *testing.T) {
	dir, files := python(t, "pyarrow.parquet", `
import json, random
import pyarrow as pa, pyarrow.parquet as pq
r = random.Random(11)
schema = pa.schema([
    ('id', pa.string()), ('n', pa.int64()), ('ok', pa.bool_()), ('tags', pa.list_(pa.string())), ('deep', pa.list_(pa.list_(pa.int32()))),
    ('items', pa.list_(pa.struct([('item_id', pa.string()), ('quantity', pa.int64()), ('of', pa.struct([('x', pa.bool_())]))]))),
    ('device', pa.struct([('id', pa.string()), ('apps', pa.list_(pa.string()))])), ('more', pa.map_(pa.string(), pa.list_(pa.int64()))),
])
def maybe(make): return None if r.random() < .2 else make()
def text(): return r.choice(['a', 'é"', '', '\\', 'x\ny'])
def some(make): return [make() for _ in range(r.randint(0, 3))]
def row():
    return dict(id=maybe(text), n=maybe(lambda: r.randint(-9, 9)), ok=maybe(lambda: r.random() < .5), tags=maybe(lambda: some(lambda: maybe(text))),
        deep=maybe(lambda: some(lambda: maybe(lambda: some(lambda: maybe(lambda: r.randint(0, 9)))))),
        items=maybe(lambda: some(lambda: dict(item_id=maybe(text), quantity=maybe(lambda: r.randint(0, 9)), of=maybe(lambda: dict(x=maybe(lambda: True)))))),
        device=maybe(lambda: dict(id=maybe(text), apps=maybe(lambda: some(text)))), more=maybe(lambda: list({k: some(lambda: 7) for k in some(text)}.items())))
def bare(v):
    if isinstance(v, dict): return {k: bare(x) for k, x in v.items() if x is not None}
    if isinstance(v, list): return [bare(x) for x in v]
    return v
def cell(v, kind=None):
    if v is None: return ''
    if kind == 'map': v = {k: x for k, x in v}
    if isinstance(v, (list, dict)):
        return json.dumps(bare(v), ensure_ascii=False, separators=(',', ':')) if v else ''
    return {True: 'true', False: 'false'}.get(v, str(v)) if isinstance(v, bool) else str(v)
def nested(v, *path):
    for p in path: v = None if v is None else v.get(p)
    return v
for i in range(150):
    name = '%d.parquet' % i
    rows = []
    with pq.ParquetWriter(name, schema, compression=r.choice(['snappy', 'zstd', 'none']), use_dictionary=r.random() < .5, data_page_version=r.choice(['1.0', '2.0'])) as w:
        for _ in range(r.randint(0, 4)):
            group = [row() for _ in range(r.choice([0, 1, 3, 300]))]
            rows += group
            w.write_table(pa.Table.from_pylist(group, schema=schema))
    got = pq.read_table(name).to_pylist()
    assert len(got) == len(rows)
    print(json.dumps(dict(Name=name, Rows=[[cell(v['id']), cell(v['n']), cell(v['ok']), cell(v['tags']), cell(v['deep']), cell(v['items']),
        cell(nested(v, 'device', 'id')), cell(nested(v, 'device', 'apps')), cell(v['more'], 'map')] for v in got])))
`)
	for i := range files {
		files[i].check(t, dir)
	}
}
