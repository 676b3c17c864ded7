package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// purgesAtOnce bounds a statement: 500 purges with a subject and a floor or an event are some 75 KB; the engine parses 256 KB.
const purgesAtOnce = 500

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
	return ch.Context(ctx, ch.WithSettings(settings))
}

// conditionOf is what the rows that the purges delete have in common; "" if none of them is about this table.
func conditionOf(t *warehouse.Table, purges []warehouse.Purge) string {
	if t.Subject == "" {
		return ""
	}
	var all, events, floors []string
	for _, p := range purges {
		switch subject := bytesLiteral(p.Subject); {
		case len(p.Event) > 0:
			if t.Event != "" {
				events = append(events, "("+subject+", "+bytesLiteral(p.Event)+")")
			}
		case t.Floor == "" || len(p.Floor) == 0:
			all = append(all, subject)
		default:
			floors = append(floors, "("+quoteName(t.Subject)+" = "+subject+" AND "+quoteName(t.Floor)+" != "+bytesLiteral(p.Floor)+")")
		}
	}
	if len(all) > 0 {
		floors = append(floors, quoteName(t.Subject)+" IN ("+strings.Join(all, ", ")+")")
	}
	if len(events) > 0 {
		floors = append(floors, "("+quoteName(t.Subject)+", "+quoteName(t.Event)+") IN ("+strings.Join(events, ", ")+")")
	}
	return strings.Join(floors, " OR ")
}

// bytesLiteral writes raw bytes; the engine reads it as a constant, for which the index is searched.
func bytesLiteral(b []byte) string { return "unhex('" + hex.EncodeToString(b) + "')" }
