package replay

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// readRest reads rows to the end of a reader; of one that is bad it keeps the code and the line. The error is what ended the reader.
func readRest(r Reader, most int) (rows [][]string, bad []string, err error) {
	for range most {
		cells, err := r.Read()
		var row *BadRow
		switch {
		case errors.Is(err, io.EOF):
			return rows, bad, nil
		case errors.As(err, &row):
			bad = append(bad, row.Code+" "+strconv.FormatInt(r.(liner).Line(), 10))
		case err != nil:
			return rows, bad, err
		default:
			rows = append(rows, slices.Clone(cells))
		}
	}
	return rows, bad, errors.New("the reader does not end")
}

// differ is cmp.Diff, at once where there is no difference.
func differ(want, got [][]string) string {
	if slices.EqualFunc(want, got, slices.Equal) {
		return ""
	}
	return cmp.Diff(want, got)
}

// cellsOf cuts a text into rows of cells, and makes it valid UTF-8. A row has two columns at least: an empty line is no row.
func cellsOf(text string, columns int) (rows [][]string) {
	cells := strings.Split(strings.ToValidUTF8(text, "?"), "\x00")
	for len(cells) >= columns && len(rows) < 50 {
		rows = append(rows, cells[:columns])
		cells = cells[columns:]
	}
	return rows
}

func headerOf(columns int) (names []string) {
	for i := range columns {
		names = append(names, fmt.Sprintf("c%d", i))
	}
	return names
}

// oneByteReader gives what it reads in small pieces, so that buffers end everywhere.
type oneByteReader struct {
	r    io.Reader
	size int
}

func (o *oneByteReader) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), o.size)]) }

// FuzzCSV: what another writer wrote, however it quotes, is read cell by cell; a record with an unclosed quote in front of the rows, between them or
// behind costs itself alone.
func FuzzCSV(f *testing.F) {
	f.Add("a\x00b\x00\"\x00,\x00\n\r\x00é", uint8(2), uint8(0))
	f.Add("x\"y\x00\"\"\x00;\t\x00 \x001\x002\x003\x004", uint8(3), uint8(77))
	f.Fuzz(func(t *testing.T, text string, columns, form uint8) {
		n := 2 + int(columns)%4
		separator := separators[form%4]
		rows := cellsOf(text, n)
		broken := form&16 != 0
		for _, row := range rows {
			for i := range row {
				if broken { // or a cell could close the quote as if it were its own
					row[i] = strings.Map(func(c rune) rune {
						if c == '\n' || c == '\r' || c == rune(separator) {
							return ' '
						}
						return c
					}, row[i])
				}
			}
		}
		file, line := written(append([][]string{headerOf(n)}, rows...), separator, form, broken)
		r, err := newCSVReader(&oneByteReader{strings.NewReader(file), 1 + int(form>>5)*9}, separator, true)
		if err != nil {
			t.Fatal(err)
		}
		got, bad, err := readRest(r, len(file)+2)
		if err != nil {
			t.Fatal(err)
		}
		if diff := differ(rows, got); diff != "" {
			t.Errorf("%q: %s", file, diff)
		}
		var want []string
		if broken {
			want = []string{"broken_row " + strconv.Itoa(line)}
		}
		if diff := differ([][]string{want}, [][]string{bad}); diff != "" {
			t.Errorf("%q: %s", file, diff)
		}
	})
}

// written writes rows, each cell quoted or only those that need it; with broken set, an unclosed record before the row that form says. It tells its line.
func written(rows [][]string, separator byte, form uint8, broken bool) (file string, line int) {
	end := "\n"
	if form&8 != 0 {
		end = "\r\n"
	}
	at := 1 + int(form)%len(rows)
	var b strings.Builder
	for i := 0; i <= len(rows); i++ {
		if broken && i == at {
			line = i + 1
			b.WriteString(`x` + string(separator) + `"unclosed` + end)
		}
		if i == len(rows) {
			break
		}
		for k, cell := range rows[i] {
			if k > 0 {
				b.WriteByte(separator)
			}
			if form&4 != 0 || strings.ContainsAny(cell, "\"\r\n"+string(separator)) {
				cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
			}
			b.WriteString(cell)
		}
		b.WriteString(end)
	}
	return b.String(), line
}

// FuzzCSVBytes: whatever a file holds, reading ends, and of a file that the standard library's strict reader reads without an error the account is the same.
func FuzzCSVBytes(f *testing.F) {
	f.Add([]byte("a,b\n1,2\n\"3\n,\",4\n\"5\n6,7\n"))
	f.Add([]byte("\xef\xbb\xbfa,b\r\n\"\",\"\"\"\"\r\r\n,\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := newCSVReader(bytes.NewReader(data), ',', true)
		if err != nil {
			return
		}
		got, bad, err := readRest(r, len(data)+2)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(data, '\r') >= 0 {
			return // which it does not take for the end of a line
		}
		other := csv.NewReader(bytes.NewReader(data))
		other.FieldsPerRecord = -1
		want, err := other.ReadAll()
		if err != nil || len(want) == 0 {
			return
		}
		wrong := 0
		rows := slices.DeleteFunc(want[1:], func(row []string) bool {
			if len(row) == len(want[0]) {
				return false
			}
			wrong++
			return true
		})
		if len(rows) != len(got) || wrong != len(bad) {
			t.Fatalf("%q: %d rows and %d wrong ones, must be %d and %d", data, len(got), len(bad), len(rows), wrong)
		}
		for i := range rows {
			if !slices.Equal(rows[i], got[i]) {
				t.Errorf("%q: row %d is %q, must be %q", data, i, got[i], rows[i])
			}
		}
	})
}

// FuzzTSV: a cell is what stands between two tabs.
func FuzzTSV(f *testing.F) {
	f.Add("a\tb\n\"\t\"\"\n\t\r\nx", false)
	f.Fuzz(func(t *testing.T, text string, small bool) {
		text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
		var want [][]string
		var wrong []string
		for i, line := range strings.Split(text, "\n") {
			switch cells := strings.Split(line, "\t"); {
			case line == "":
			case len(cells) == 2:
				want = append(want, cells)
			default:
				wrong = append(wrong, "wrong_columns "+strconv.Itoa(i+2))
			}
		}
		size := 1 << 16
		if small {
			size = 1
		}
		r, err := newCSVReader(&oneByteReader{strings.NewReader("a\tb\n" + text), size}, '\t', false)
		if err != nil {
			t.Fatal(err)
		}
		got, bad, err := readRest(r, len(text)+2)
		if diff := differ(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
		if diff := differ([][]string{wrong}, [][]string{bad}); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzEncodings: a text that another program encoded is read as it was.
func FuzzEncodings(f *testing.F) {
	f.Add("a\x00é中😀", uint8(0))
	f.Add("\ufeff\x00\u2028", uint8(3))
	f.Fuzz(func(t *testing.T, text string, form uint8) {
		rows := cellsOf(text, 2)
		names := []string{"", "utf-8", "utf-16le", "utf-16be", "iso-8859-1", "us-ascii"}
		name, mark := names[int(form)%len(names)], form&64 != 0
		if name == "iso-8859-1" || name == "us-ascii" {
			narrow(rows)
		}
		file, _ := written(append([][]string{headerOf(2)}, rows...), ',', 4, false)
		data := encoded(file, name, mark)
		if mark && strings.HasPrefix(name, "utf-16") {
			name = "" // the mark says it
		}
		plain, _, err := decoded(&oneByteReader{bytes.NewReader(data), 1 + int(form)}, name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newCSVReader(plain, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := readRest(r, len(data)+2)
		if diff := differ(rows, got); diff != "" || err != nil {
			t.Error(name, err, diff)
		}
	})
}

// narrow leaves only what the encoding of western Europe has, but for the places where the standards of the web and of ISO differ.
func narrow(rows [][]string) {
	for _, row := range rows {
		for i := range row {
			row[i] = strings.Map(func(c rune) rune {
				if c > 0xff || c >= 0x80 && c < 0xa0 {
					return '?'
				}
				return c
			}, row[i])
		}
	}
}

func encoded(text, name string, mark bool) (data []byte) {
	var order binary.AppendByteOrder = binary.LittleEndian
	switch name {
	case "utf-16be":
		order = binary.BigEndian
	case "utf-16le":
	case "iso-8859-1", "us-ascii":
		for _, c := range text {
			data = append(data, byte(c))
		}
		return data
	default:
		if mark {
			data = append(data, byteOrderMark...)
		}
		return append(data, text...)
	}
	if mark {
		data = order.AppendUint16(data, 0xfeff)
	}
	for _, unit := range utf16.Encode([]rune(text)) {
		data = order.AppendUint16(data, unit)
	}
	return data
}

// FuzzDecoded: whatever the bytes, and whichever encoding is named, decoding ends, and what is no text is told.
func FuzzDecoded(f *testing.F) {
	f.Add([]byte("a,b\n\xff\xfe\x00\x00,2\n"), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, form uint8) {
		names := []string{"", "utf-16le", "utf-16be", "windows-1252", "gb18030", "gbk", "big5", "shift_jis", "euc-kr", "euc-jp", "iso-2022-jp", "koi8-r", "windows-1251"}
		plain, name, err := decoded(bytes.NewReader(data), names[int(form)%len(names)])
		if err != nil {
			return
		}
		text, err := io.ReadAll(plain)
		if err != nil {
			t.Fatal(err)
		}
		if name != "" && !utf8.Valid(text) {
			t.Errorf("%s: %q is decoded to %q", name, data, text)
		}
		if s := string(text); !isText(name, s) && notText(name, s) == "" {
			t.Error("nothing is said")
		}
	})
}

// FuzzJSON: what the standard library wrote is read object by object, in an array or not, on one line or several; an object that is broken costs itself
// alone where each begins on a line of its own.
func FuzzJSON(f *testing.F) {
	f.Add("a\x00{\x00}\"\x00\\", uint8(1), `{"a":`)
	f.Add("1\x00[]\x00\n\x00,", uint8(14), `{"a":"}`)
	f.Add("1\x002", uint8(4), `"a\`)
	f.Fuzz(func(t *testing.T, text string, form uint8, broken string) {
		rows := cellsOf(text, 2)
		var objects [][]byte
		for _, row := range rows {
			object, err := json.Marshal(map[string]any{"a": row[0], "b": row[1], "c": []any{row[0], map[string]string{row[1]: "x"}}})
			if err != nil {
				t.Fatal(err)
			}
			if form&1 != 0 {
				var pretty bytes.Buffer
				if err := json.Indent(&pretty, object, "", "  "); err != nil {
					t.Fatal(err)
				}
				object = pretty.Bytes()
			}
			objects = append(objects, object)
		}
		array, bad := form&2 != 0, form&4 != 0 && len(objects) > 0
		if bad {
			broken = "{" + strings.NewReplacer("{", "", "\n", "").Replace(broken) // no further object may begin in it
			if len(broken) > 9 || json.Valid([]byte(broken)) || strings.ContainsAny(broken, "}]") {
				return
			}
			objects = slices.Insert(objects, int(form>>4)%len(objects), []byte(broken))
		}
		file := bytes.Join(objects, []byte("\n"))
		if array {
			file = slices.Concat([]byte("[\n"), bytes.Join(objects, []byte(",\n")), []byte("\n]"))
		}
		r := newValuesReader(&oneByteReader{bytes.NewReader(file), 1 + int(form>>3)})
		got, faults, err := readRest(r, len(file)+2)
		if err != nil {
			t.Fatalf("%v: %q", err, file)
		}
		for i := range got {
			got[i] = []string{got[i][slices.Index(r.Columns(), "a")], got[i][slices.Index(r.Columns(), "b")]}
		}
		if diff := differ(rows, got); diff != "" {
			t.Errorf("%q: %s", file, diff)
		}
		if bad != (len(faults) == 1) || !bad && len(faults) > 0 {
			t.Errorf("%q: %v", file, faults)
		}
	})
}

// FuzzJSONBytes: whatever a file holds, reading ends, and of an array of objects that the standard library reads the account is the same.
func FuzzJSONBytes(f *testing.F) {
	f.Add([]byte(`[{"a":1},{"b":[{}]}, {"c":"\"]"}]`))
	f.Add([]byte("{\"a\":1}\n{\"a\":\n 2}\n{\n  {\n}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newValuesReader(bytes.NewReader(data))
		rows, bad, err := readRest(r, len(data)+2)
		if err != nil && err.Error() == "the reader does not end" {
			t.Fatal(err)
		}
		var want []map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil || want == nil || !utf8.Valid(data) || slices.ContainsFunc(want, func(m map[string]json.RawMessage) bool { return m == nil }) {
			return
		}
		if err != nil || len(rows)+len(bad) != len(want) { // names that come twice in an object are refused
			t.Errorf("%q: %d rows, %v, %v; must be %d rows", data, len(rows), bad, err, len(want))
		}
	})
}

// FuzzTime: what is taken for a time is one that the map believes, and equal to what the standard library reads; what is refused has a reason.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"20261101", "1764000000", "2018-04-01 00:00:31+02", "2018-04-01T00:00:31.5+0530", "11/01/2026", "1e300", "-0", "2018-04-01T00:00:31-00:00", "01 Feb 2020 3:04 PM"} {
		f.Add(s, uint8(0))
	}
	f.Fuzz(func(t *testing.T, s string, form uint8) {
		r := newTimeRule()
		unit := units[int(form)%len(units)].name
		r.unit, r.exponent = unit, exponents[unit]
		micros, code := r.parse(s)
		if code != "" {
			if why := r.fault(s, code); !strings.HasPrefix(why, "must be ") {
				t.Error(why)
			}
			return
		}
		if at := time.UnixMicro(micros); at.Year() < 1999 || at.After(time.Now().Add(25*time.Hour)) {
			t.Errorf("%q is taken for %v", s, at)
		}
		if want, err := time.Parse(time.RFC3339, s); err == nil && want.UnixMicro() != micros {
			t.Errorf("%q is taken for %v", s, time.UnixMicro(micros))
		}
	})
}
