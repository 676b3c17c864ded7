package parquet_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"sluice/replay/parquet"
)

var update = flag.Bool("update", false, "write testdata/clicks.parquet anew")

// click is a row of testdata/clicks.parquet, which the replay's test compares with other formats.
type click struct {
	Time   float64 `parquet:"time"`
	UserID int64   `parquet:"user_id"`
	Type   string  `parquet:"type,dict"`
	ItemID string  `parquet:"item_id,optional"`
}

func TestClicks(t *testing.T) {
	const file = "testdata/clicks.parquet"
	if *update {
		rows := []click{{1430623510, 1176, "view", "67"}, {1430623510.5, 7, "buy", "é"}, {1430623510, 1176, "view", "67"}}
		if err := pq.WriteFile(file, rows); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"time", "user_id", "type", "item_id"}, {"1430623510", "1176", "view", "67"}, {"1430623510.5", "7", "buy", "é"}, {"1430623510", "1176", "view", "67"}}
	if diff := cmp.Diff(want, readAll(t, data)); diff != "" {
		t.Error(diff)
	}
}

// kinds has a column of each kind.
type kinds struct {
	Bool     bool             `parquet:"bool"`
	Int32    int32            `parquet:"int32"`
	Uint32   uint32           `parquet:"uint32"`
	Uint64   uint64           `parquet:"uint64"`
	Float    float32          `parquet:"float"`
	Millis   int64            `parquet:"millis,timestamp(millisecond)"`
	Local    int64            `parquet:"local,timestamp(microsecond:local)"`
	Day      int32            `parquet:"day,date"`
	Old      deprecated.Int96 `parquet:"old"`
	Price    int64            `parquet:"price,decimal(2:18)"`
	UUID     [16]byte         `parquet:"uuid,uuid"`
	Nothing  *string          `parquet:"nothing,optional"`
	Inner    inner            `parquet:"inner"`
	Repeated []string         `parquet:"repeated,list"`
	Flags    []bool           `parquet:"flags"`
	Numbers  []int64          `parquet:"numbers,list"`
	None     []int64          `parquet:"none,list"`
	Deep     [][]int64        `parquet:"deep,list"`
	Lines    []inner          `parquet:"lines,list"`
	Raw      []byte           `parquet:"raw"`
	Last     int64            `parquet:"last"`
}

type inner struct {
	Text string `parquet:"text"`
}

func TestKinds(t *testing.T) {
	var b bytes.Buffer
	w := pq.NewGenericWriter[kinds](&b, pq.MaxRowsPerRowGroup(300))
	row := kinds{
		true, -3, 4_000_000_000, 18_000_000_000_000_000_000, 1.1, 1430623510123, 1430623510123456, 17_622,
		deprecated.Int96{1_000_000_000, 0, 2_457_146},
		-5,
		[16]byte{0x12, 15: 0xff},
		nil,
		inner{"x"},
		[]string{"a", "\""},
		[]bool{true, false},
		[]int64{-7},
		nil,
		[][]int64{{1}, {2, 3}},
		[]inner{{"l"}},
		[]byte{0, 0xfe},
		9,
	}
	for range 1000 {
		if _, err := w.Write([]kinds{row}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	all := readAll(t, b.Bytes())
	want := [][]string{
		{"bool", "int32", "uint32", "uint64", "float", "millis", "local", "day", "old", "price", "uuid", "nothing", "inner.text", "repeated", "flags", "numbers", "none", "deep", "lines", "raw", "last"},
		{
			"true", "-3", "4000000000", "18000000000000000000", "1.1", "2015-05-03T03:25:10.123Z", "2015-05-03 03:25:10.123456", "2018-04-01", "2015-05-03T00:00:01Z", "-0.05",
			"12000000-0000-0000-0000-0000000000ff", "", "x", `["a","\""]`, "[true,false]", "[-7]", "", "[[1],[2,3]]", `[{"text":"l"}]`, "00fe", "9",
		},
	}
	if diff := cmp.Diff(want, all[:2]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[1], all[1000]); diff != "" || len(all) != 1001 {
		t.Error(len(all), diff)
	}
	for cut := range 40 { // a damaged file is an error, never a panic
		damaged := bytes.Clone(b.Bytes())
		for i := cut; i < len(damaged)-8; i += 97 {
			damaged[i] ^= 0x55
		}
		_, _ = read(damaged)
	}
}

// TestTruthValuesInRuns: testdata/booleans.parquet is pyarrow's, with pages of version 2, where truth values are run-length encoded.
func TestTruthValuesInRuns(t *testing.T) {
	data, err := os.ReadFile("testdata/booleans.parquet")
	if err != nil {
		t.Fatal(err)
	}
	var ok []string
	for _, run := range []struct {
		value string
		n     int
	}{{"true", 11}, {"false", 3}, {"", 2}, {"true", 1}, {"false", 9}} {
		ok = append(ok, slices.Repeat([]string{run.value}, run.n)...)
	}
	ok = append(ok, slices.Repeat([]string{"true", "false"}, 6)...)
	want := [][]string{{"ok", "flags"}}
	for i, value := range ok {
		flags := ""
		if i%5 > 0 {
			flags = "[" + strings.Repeat("true,", i%4) + "null]"
		}
		want = append(want, []string{value, flags})
	}
	if diff := cmp.Diff(want, readAll(t, data)); diff != "" {
		t.Error(diff)
	}
	for cut := range 400 { // a damaged file is an error, never a panic
		damaged := bytes.Clone(data)
		damaged[cut%(len(damaged)-8)] ^= byte(1 + cut)
		_, _ = read(damaged)
	}
}

func readAll(t *testing.T, data []byte) [][]string {
	t.Helper()
	all, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(data []byte) ([][]string, error) {
	r, err := parquet.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.Binary("raw", "no such column")
	all := [][]string{r.Columns()}
	for len(all) < 5000 {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, append([]string(nil), cells...))
	}
	return all, r.Close()
}
