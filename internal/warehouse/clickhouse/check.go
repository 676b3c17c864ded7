package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"sluice/internal/warehouse"
)

// check reads the schema and says what does not fit, the first thing first. It returns the types of each table's columns.
func check(ctx context.Context, conn driver.Conn, database string, tables []*warehouse.Table) (map[string][]string, error) {
	pending, err := pendingOf(ctx, conn, database)
	if err != nil {
		return nil, err
	}
	if len(pending) > 0 {
		return nil, &SchemaError{Problem: "migrations are not applied: " + strings.Join(pending, ", ")}
	}
	found, err := columns(ctx, conn, database)
	if err != nil {
		return nil, err
	}
	types := make(map[string][]string, len(tables))
	for _, t := range tables {
		if types[t.Name], err = typesOf(t, found[t.Name]); err != nil {
			return nil, err
		}
	}
	late, err := ttlsToSet(ctx, conn, database, tables)
	if err != nil {
		return nil, err
	}
	if len(late) > 0 {
		return nil, &SchemaError{Table: late[0].Name, Problem: "rows are not kept as long as the register says (" + keepText(late[0]) + ")"}
	}
	return types, nil
}

// typesOf checks one table against the columns that the database has.
func typesOf(t *warehouse.Table, found map[string]string) ([]string, error) {
	if found == nil {
		return nil, &SchemaError{Table: t.Name, Problem: "there is no such table"}
	}
	types := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		typ, ok := found[c.Name]
		switch {
		case !ok:
			return nil, &SchemaError{Table: t.Name, Column: c.Name, Problem: "there is no such column, it must be " + expected(c.Kind)}
		case !fits(c.Kind, typ):
			return nil, &SchemaError{Table: t.Name, Column: c.Name, Problem: "must be " + expected(c.Kind) + ", the database has " + typ}
		}
		types[i] = typ
	}
	return types, nil
}

// columns are the types of the database's columns, by table and name.
func columns(ctx context.Context, conn driver.Conn, database string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	const statement = "SELECT table, name, type FROM system.columns WHERE database = "
	err := each(ctx, conn, statement+quoteText(database), func(rows driver.Rows) error {
		var table, name, typ string
		if err := rows.Scan(&table, &name, &typ); err != nil {
			return err
		}
		if out[table] == nil {
			out[table] = map[string]string{}
		}
		out[table][name] = typ
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("clickhouse: reading the columns: %w", err)
	}
	return out, nil
}

// each runs a query and gives every row to f. Its errors hold no values, and not the query.
func each(ctx context.Context, conn driver.Conn, query string, f func(driver.Rows) error) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return withoutText(err)
	}
	for rows.Next() {
		if err := f(rows); err != nil {
			_ = rows.Close()
			return err
		}
	}
	return withoutText(errors.Join(rows.Err(), rows.Close()))
}
