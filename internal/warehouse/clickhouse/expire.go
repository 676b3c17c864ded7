package clickhouse

import (
	"context"
	"fmt"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// Expire removes from the disk what purges have deleted. A purge marks rows, which nobody can read from then on. They leave the disk when their part is merged,
// and an old part may never be merged. Rows that are too old need nothing here: each table's TTL is its Keep, and the engine applies it within hours by its own
// clock (merge_with_ttl_timeout), so that now is not used.
func (s *Store) Expire(ctx context.Context, _ time.Time) error {
	for _, t := range s.tables {
		if err := s.wipe(ctx, t); err != nil {
			return fmt.Errorf("clickhouse: table %s: removing deleted rows from the disk: %w", t.Name, err)
		}
	}
	return nil
}

// wipe rewrites the months of a table that have marked rows.
func (s *Store) wipe(ctx context.Context, t *warehouse.Table) error {
	var months []string
	query := "SELECT DISTINCT partition_id FROM system.parts WHERE active AND has_lightweight_delete AND database = " +
		quoteText(s.database) + " AND table = " + quoteText(t.Name) + " ORDER BY partition_id"
	err := each(ctx, s.conn, query, func(rows driver.Rows) error {
		var month string
		if err := rows.Scan(&month); err != nil {
			return err
		}
		months = append(months, month)
		return nil
	})
	if err != nil {
		return err
	}
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"mutations_sync": 2}))
	for _, month := range months {
		if err := s.conn.Exec(ctx, "ALTER TABLE "+s.table(t)+" APPLY DELETED MASK IN PARTITION ID "+quoteText(month)); err != nil {
			return withoutText(err)
		}
	}
	return nil
}
