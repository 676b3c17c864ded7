package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
)

// paymentsCSV is a file like the fraud data: 61 bytes a row.
func paymentsCSV(rows int) []byte {
	var b bytes.Buffer
	b.WriteString("TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO\n")
	for i := range rows {
		fmt.Fprintf(&b, "%d,2018-04-%02d %02d:%02d:31,%d,%d,%d.%02d,0,0\n", i, 1+i%28, i%24, i%60, i%4990, i%10_000, i%300, i%100)
	}
	return b.Bytes()
}

func fraudMap(t testing.TB) *Map {
	t.Helper()
	m, err := LoadMap("testdata/fraud.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// BenchmarkReadAndMap is the reader's and the mapper's share of a row.
func BenchmarkReadAndMap(b *testing.B) {
	data := paymentsCSV(10_000)
	mapper := NewMapper(fraudMap(b))
	b.ReportAllocs()
	for n := 0; n < b.N; {
		r, err := newCSVReader(bytes.NewReader(data), ',', true)
		if err != nil {
			b.Fatal(err)
		}
		if err := mapper.Bind("f.csv", r.Columns(), true); err != nil {
			b.Fatal(err)
		}
		for ; n < b.N; n++ {
			cells, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if _, fault := mapper.Map(cells); fault != nil {
				b.Fatal(fault)
			}
		}
	}
}

// BenchmarkRun is a whole run against a server in the same process that counts lines and throws them away.
func BenchmarkRun(b *testing.B) {
	f := newFakeServer(b)
	f.discard = true
	file := write(b, filepath.Join(b.TempDir(), "f.csv"), string(paymentsCSV(b.N)))
	m := fraudMap(b)
	b.ReportAllocs()
	b.ResetTimer()
	account, err := Run(b.Context(), Options{Events: []string{file}, Map: m, To: f.URL, Key: "s", Grants: []string{"personalize"}})
	if err != nil || account.Accepted != int64(b.N) {
		b.Fatal(account, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
