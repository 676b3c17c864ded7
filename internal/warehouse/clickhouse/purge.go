package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// purgesAtOnce bounds a statement: 500 purges with a subject and a floor or an event are some 75 KB. What each keeps comes on top, at most a block's events.
const purgesAtOnce = 500

// Bounds of the engine that a statement with a block's events may need.
var largeStatement = ch.Settings{"max_query_size": 64 << 20, "max_ast_elements": 4_000_000, "max_expanded_ast_elements": 4_000_000}

// purge deletes from a table what the purges say. To delete touches every part of a table, so that it is asked first whether there is anything: most
// people have no row in most tables. Afterwards it is asked again, and what is still there is an error.
func (s *Store) purge(ctx context.Context, t *warehouse.Table, purges []warehouse.Purge) error {
	for len(purges) > 0 {
		n := min(len(purges), purgesAtOnce)
		if condition := conditionOf(t, purges[:n]); condition != "" {
			if err := s.delete(ctx, t, condition); err != nil {
				return err
			}
		}
		purges = purges[n:]
	}
	return nil
}

func (s *Store) delete(ctx context.Context, t *warehouse.Table, condition string) error {
	found, err := s.count(ctx, t, condition)
	if err != nil || found == 0 {
		return err
	}
	statement := "DELETE FROM " + s.table(t) + " WHERE "
	// 2: every replica has done it when it is answered.
	if err := s.conn.Exec(quiet(ctx, statement, ch.Settings{"lightweight_deletes_sync": 2, "mutations_sync": 2}), statement+condition); err != nil {
		return withoutText(err)
	}
	left, err := s.count(ctx, t, condition)
	if err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("%d of %d rows are still there", left, found)
	}
	return nil
}

// count counts the rows that a condition of purges meets.
func (s *Store) count(ctx context.Context, t *warehouse.Table, condition string) (n uint64, err error) {
	statement := "SELECT count() FROM " + s.table(t) + " WHERE "
	err = each(quiet(ctx, statement, ch.Settings{}), s.conn, statement+condition, func(rows driver.Rows) error { return rows.Scan(&n) })
	return n, err
}

// quiet makes the engine's logs keep of a statement only its begin, which names nobody.
func quiet(ctx context.Context, begin string, settings ch.Settings) context.Context {
	settings["log_queries_cut_to_length"] = len(begin)
	maps.Copy(settings, largeStatement)
	return ch.Context(ctx, ch.WithSettings(settings))
}

// conditionOf is what the rows that the purges delete have in common; "" if none of them is about this table.
func conditionOf(t *warehouse.Table, purges []warehouse.Purge) string {
	if t.Subject == "" || t.Event == "" {
		return ""
	}
	var all, events, each []string
	for i := range purges {
		p := &purges[i]
		subject := bytesLiteral(p.Subject)
		if len(p.Event) > 0 {
			events = append(events, "("+subject+", "+bytesLiteral(p.Event)+")")
			continue
		}
		condition := quoteName(t.Subject) + " = " + subject
		if t.Floor != "" && len(p.Floor) > 0 {
			condition += " AND " + quoteName(t.Floor) + " != " + bytesLiteral(p.Floor)
		}
		var kept []string
		for event := range p.Kept.All() {
			kept = append(kept, bytesLiteral([]byte(event)))
		}
		switch {
		case len(kept) > 0:
			each = append(each, "("+condition+" AND "+quoteName(t.Event)+" NOT IN ("+strings.Join(kept, ", ")+"))")
		case t.Floor == "" || len(p.Floor) == 0:
			all = append(all, subject)
		default:
			each = append(each, "("+condition+")")
		}
	}
	if len(all) > 0 {
		each = append(each, quoteName(t.Subject)+" IN ("+strings.Join(all, ", ")+")")
	}
	if len(events) > 0 {
		each = append(each, "("+quoteName(t.Subject)+", "+quoteName(t.Event)+") IN ("+strings.Join(events, ", ")+")")
	}
	return strings.Join(each, " OR ")
}

// bytesLiteral writes raw bytes in a form that the engine reads as a constant, so that it can use the index.
func bytesLiteral(b []byte) string { return "unhex('" + hex.EncodeToString(b) + "')" }
