package warehouse

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/internal/stream"
	"sluice/internal/warehouse"
)

// digest stands for the values of all columns of a row.
type digest [16]byte

// digestOf digests a row of a batch. buf is scratch.
func digestOf(b *warehouse.Batch, row int, buf []byte) (digest, []byte) {
	buf = buf[:0]
	for i := range b.Values {
		v := &b.Values[i]
		switch v.Kind() {
		case warehouse.String, warehouse.Bytes:
			buf = appendText(buf, v.Text(row))
		case warehouse.Bool:
			if v.Bool(row) {
				buf = append(buf, 1)
			} else {
				buf = append(buf, 0)
			}
		case warehouse.Strings:
			texts := v.Strings(row)
			buf = binary.AppendUvarint(buf, uint64(len(texts)))
			for _, text := range texts {
				buf = appendText(buf, []byte(text))
			}
		case warehouse.Int64s:
			buf = binary.AppendUvarint(buf, uint64(len(v.Ints(row))))
			for _, n := range v.Ints(row) {
				buf = binary.BigEndian.AppendUint64(buf, uint64(n))
			}
		default:
			buf = binary.BigEndian.AppendUint64(buf, v.Uint(row))
		}
	}
	sum := sha256.Sum256(buf)
	return digest(sum[:16]), buf
}

func appendText(buf, text []byte) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}

// ledger is what the rows of a topic should be, by table: those that are there, and those that people have deleted.
type ledger struct {
	tables map[string]*rows

	// Rows by how far the warehouse was when ClickHouse was killed.
	stored, promised int64
}

// rows are those of one table.
type rows struct {
	kept   map[string][]kept // by subject
	purged map[digest]int
	total  int64 // kept or not
}

// kept is a row, and what a purge wants to know of it.
type kept struct {
	digest       digest
	event, floor string
}

// readTopics reads every record of every topic, makes rows of it as the warehouse does, and carries out the purges. One person's records are in one
// partition, and so in order.
func readTopics(ctx context.Context, s *system, at promise) (*ledger, error) {
	l := &ledger{tables: make(map[string]*rows)}
	for _, source := range s.sources {
		if err := l.read(ctx, s.cluster, source, at); err != nil {
			return nil, fmt.Errorf("reading the topic %s: %w", source.Topic, err)
		}
	}
	return l, nil
}

func (l *ledger) read(ctx context.Context, cluster stream.Cluster, source *warehouse.Source, at promise) error {
	out := warehouse.NewRows(source)
	for _, t := range source.Tables {
		l.tables[t.Name] = &rows{kept: make(map[string][]kept), purged: make(map[digest]int)}
	}
	var broken error
	err := stream.ReadAll(ctx, cluster, source.Topic, func(recs []stream.Record) {
		for i := range recs {
			if broken == nil {
				broken = l.take(&recs[i], source, out, at.of(cluster.Topic(source.Topic), recs[i].Partition))
			}
		}
	})
	if broken != nil {
		return broken
	}
	return err
}

// take folds one record.
func (l *ledger) take(rec *stream.Record, source *warehouse.Source, out *warehouse.Rows, at reach) error {
	if err := source.Decode(rec, out); err != nil {
		return fmt.Errorf("partition %d, offset %d: %w", rec.Partition, rec.Offset, err)
	}
	for _, b := range out.Batches {
		l.tables[b.Table.Name].add(b)
		switch n := int64(b.Rows()); {
		case rec.Offset < at.stored:
			l.stored += n
		case rec.Offset < at.promised:
			l.promised += n
		}
	}
	for i := range out.Purges {
		for _, t := range source.Tables {
			l.tables[t.Name].purge(t, &out.Purges[i])
		}
	}
	out.Cut()
	return nil
}

func (r *rows) add(b *warehouse.Batch) {
	subject, event, floor := b.Table.Column(b.Table.Subject), b.Table.Column(b.Table.Event), b.Table.Column(b.Table.Floor)
	var buf []byte
	for row := range b.Rows() {
		var k kept
		k.digest, buf = digestOf(b, row, buf)
		k.event, k.floor = textOf(b, event, row), textOf(b, floor, row)
		who := textOf(b, subject, row)
		r.kept[who] = append(r.kept[who], k)
		r.total++
	}
}

// textOf is a value of a column of bytes, "" if the table has no such column.
func textOf(b *warehouse.Batch, column, row int) string {
	if column < 0 {
		return ""
	}
	return string(b.Values[column].Text(row))
}

func (r *rows) purge(t *warehouse.Table, p *warehouse.Purge) {
	who := string(p.Subject)
	var left []kept
	for _, k := range r.kept[who] {
		if p.Deletes(t, []byte(k.event), []byte(k.floor)) {
			r.purged[k.digest]++
		} else {
			left = append(left, k)
		}
	}
	r.kept[who] = left
}

// reach is how far a partition was: below stored everything was committed, below promised it was on its way.
type reach struct{ stored, promised int64 }

func (p promise) of(topic string, partition int32) reach {
	o, ok := p.committed.Lookup(topic, partition)
	if !ok || o.At < 0 {
		return reach{}
	}
	return reach{o.At, max(o.At, lastBound(o))}
}

// lastBound is where the last of the promised blocks ends, 0 if none is.
func lastBound(o kadm.OffsetResponse) (next int64) {
	bounds, _ := strings.CutPrefix(o.Metadata, promisePrefix)
	_, err := fmt.Sscan(bounds[strings.LastIndexByte(bounds, ',')+1:], &next)
	if err != nil {
		return 0
	}
	return next
}

// compared is what came of one table.
type compared struct {
	Table     string `json:"table"`
	Topic     int64  `json:"topic"`  // rows of the topic
	Purged    int64  `json:"purged"` // of which people have deleted
	Stored    int64  `json:"stored"` // rows of the store, read without FINAL
	Lost      int64  `json:"lost"`
	Doubled   int64  `json:"doubled"`
	Undeleted int64  `json:"undeleted"` // deleted, and still there
	Strange   int64  `json:"strange"`   // on no topic
	Counted   *int64 `json:"counted"`   // by the hourly counts, which remember what was inserted: no merge hides a double there; null: it has none
}

func (c *compared) differs() bool {
	return c.Lost+c.Doubled+c.Undeleted+c.Strange > 0 || c.Counted != nil && *c.Counted != c.Topic
}

// compare compares every row that a table should have with those that it has.
func compare(name string, want *rows, stored map[digest]int) compared {
	c := compared{Table: name, Topic: want.total}
	wanted := make(map[digest]int)
	for _, rows := range want.kept {
		for _, k := range rows {
			wanted[k.digest]++
		}
	}
	for d, n := range wanted {
		c.Lost += int64(max(0, n-stored[d]))
	}
	for _, n := range want.purged {
		c.Purged += int64(n)
	}
	for d, n := range stored {
		c.Stored += int64(n)
		more := int64(max(0, n-wanted[d]))
		switch {
		case want.purged[d] > 0:
			c.Undeleted += more
		case wanted[d] > 0:
			c.Doubled += more
		default:
			c.Strange += more
		}
	}
	return c
}

// compareAll compares every table, the tables at once.
func (s *system) compareAll(ctx context.Context, l *ledger) ([]compared, error) {
	counted, err := s.counted(ctx)
	if err != nil {
		return nil, err
	}
	tables := s.tables()
	all, errs := make([]compared, len(tables)), make([]error, len(tables))
	var wg sync.WaitGroup
	for i, t := range tables {
		wg.Go(func() {
			stored, err := s.rowsOf(ctx, t)
			if err != nil {
				errs[i] = fmt.Errorf("reading the table %s: %w", t.Name, err)
				return
			}
			all[i] = compare(t.Name, l.tables[t.Name], stored)
			if n, ok := counted[t.Name]; ok {
				all[i].Counted = &n
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
