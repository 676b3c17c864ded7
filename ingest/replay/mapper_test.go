package replay

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const dataDir = "/work/shared/data"

// mapAll maps every row of a file with a map and returns the events, or "row n: fault".
func mapAll(t *testing.T, m *Map, file string) []string {
	t.Helper()
	s, err := open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mp := NewMapper(m)
	var out []string
	for {
		cells, err := s.Read()
		var bad *BadRow
		if errors.As(err, &bad) {
			out = append(out, bad.Code+" "+bad.Error()+" | "+bad.Payload)
			continue
		}
		if err != nil {
			return out
		}
		if err := mp.Bind(file, s.Columns(), !s.growing); err != nil {
			t.Fatal(err)
		}
		mapped, fault := mp.Map(cells)
		if fault != nil {
			out = append(out, fault.Code+" "+fault.Pointer+" "+fault.Error())
			continue
		}
		out = append(out, string(mapped.Event))
	}
}

func retailMap(t testing.TB) *Map {
	t.Helper()
	m, err := LoadMap("testdata/retail.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMapRetail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "e.csv")
	write(t, file, "time,user_id,type,item_id\n1430623510,1176,view,67\n1430623510,1176,view,67\n1430623510.25,1176,buy,6\"8\n1430623510,,cart,\n1430623510,1,steal,3\nsoon,1,view,3\n")
	id := []string{hash(`{"type":"view_item","time":"2015-05-03T03:25:10Z","user_id":"1176","channel":"server","jurisdiction":"CN","items":[{"item_id":"67"}]}` + "\n0")}
	got := mapAll(t, retailMap(t), file)
	if diff := cmp.Diff(`{"id":"`+id[0]+`","type":"view_item","time":"2015-05-03T03:25:10Z","user_id":"1176","channel":"server","jurisdiction":"CN","items":[{"item_id":"67"}],"order":{"order_id":"`+id[0]+`"}}`, got[0]); diff != "" {
		t.Error(diff)
	}
	t.Log(strings.Join(got, "\n"))
}
