package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// ttlOf is the TTL that a table should have, as the engine writes it; "" = none, for ever.
func ttlOf(t *warehouse.Table) string {
	if forEver(t) {
		return ""
	}
	return ttlExpression(t, t.Time)
}

// longest is the longest a TTL may be: the engine counts in seconds of 32 bits, which end in 2106 and begin anew in 1970, long expired.
const longest = 50 * 365 * 24 * time.Hour

func forEver(t *warehouse.Table) bool { return t.Keep <= 0 || t.Keep > longest }

func ttlExpression(t *warehouse.Table, column string) string {
	return "toDateTime(" + column + ") + toIntervalSecond(" + strconv.FormatInt(int64(t.Keep/time.Second), 10) + ")"
}

// keepText says how long a table keeps its rows.
func keepText(t *warehouse.Table) string {
	switch {
	case forEver(t):
		return "for ever"
	case t.Keep%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(t.Keep/(24*time.Hour)), 10) + "d"
	default:
		return t.Keep.String()
	}
}

// ttlIn finds the TTL in a table's definition.
var ttlIn = regexp.MustCompile(` TTL (.+?)(?: SETTINGS |$)`)

// ttlsToSet lists the tables with another TTL than Keep says. It leaves out tables that do not exist.
func ttlsToSet(ctx context.Context, conn driver.Conn, database string, tables []*warehouse.Table) ([]*warehouse.Table, error) {
	ttls := map[string]string{}
	err := each(ctx, conn, "SELECT name, engine_full FROM system.tables WHERE database = "+quoteText(database), func(rows driver.Rows) error {
		var name, engine string
		if err := rows.Scan(&name, &engine); err != nil {
			return err
		}
		ttls[name] = ""
		if found := ttlIn.FindStringSubmatch(engine); found != nil {
			ttls[name] = strings.ReplaceAll(found[1], "`", "")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: reading the tables: %w", err)
	}
	var out []*warehouse.Table
	for _, t := range tables {
		if ttl, exists := ttls[t.Name]; exists && ttl != ttlOf(t) {
			out = append(out, t)
		}
	}
	return out, nil
}

// setTTL makes a table keep its rows as long as it should. Rows that are too old already go in the background (materialize_ttl_after_modify, on by default).
func setTTL(ctx context.Context, conn driver.Conn, database string, t *warehouse.Table) error {
	statement := "ALTER TABLE " + quoteName(database) + "." + quoteName(t.Name)
	if !forEver(t) {
		statement += " MODIFY TTL " + ttlExpression(t, quoteName(t.Time))
	} else {
		statement += " REMOVE TTL"
	}
	if err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("clickhouse: table %s: setting how long rows are kept: %w", t.Name, withoutText(err))
	}
	return nil
}
