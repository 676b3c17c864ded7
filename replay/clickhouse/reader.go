package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Reader yields a table's rows in the order of their times, day by day, so that the server never sorts more than one. It changes no setting of the server:
// a user who may only read is enough.
type Reader struct {
	ctx     context.Context
	conn    driver.Conn
	address *Address
	columns []column
	names   []string
	binary  []string
	time    column
	final   bool

	days  []time.Time // of UTC that have rows and are not read yet
	total int64
	read  atomic.Int64
	rows  driver.Rows // of the day at hand
	cells []string
	into  []any // pointers to cells
}

const dialTimeout = 10 * time.Second

// Open connects, and looks up the table, its columns and the days that have rows. All reading ends with the context. What is wrong with the address, the
// user or the table is a *WrongError; that the server cannot be reached is not. Errors hold no values.
func Open(ctx context.Context, a *Address, password string) (*Reader, error) {
	o := &ch.Options{
		Addr: []string{a.Host}, Auth: ch.Auth{Username: a.User, Password: password},
		DialTimeout: dialTimeout, MaxOpenConns: 1, MaxIdleConns: 1, Compression: &ch.Compression{Method: ch.CompressionLZ4},
		ClientInfo: ch.ClientInfo{Products: []struct{ Name, Version string }{{Name: "sluice", Version: "replay"}}},
	}
	if a.HTTP {
		o.Protocol = ch.HTTP
	}
	if a.TLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	conn, err := ch.Open(o)
	if err != nil {
		return nil, fmt.Errorf("connecting to ClickHouse: %w", told(err))
	}
	r := &Reader{ctx: ctx, conn: conn, address: a}
	for _, step := range []func() error{r.connect, r.describe, r.findDays} {
		if err := step(); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return r, nil
}

func (r *Reader) connect() error {
	if err := r.conn.Ping(r.ctx); err != nil {
		return fmt.Errorf("connecting to ClickHouse at %s: %w", r.address.Host, told(err))
	}
	return nil
}

// describe reads what the table is.
func (r *Reader) describe() error {
	where := " WHERE database = " + quoteText(r.address.Database) + " AND table = " + quoteText(r.address.Table)
	err := r.each("SELECT name, type FROM system.columns"+where+" ORDER BY position", func(rows driver.Rows) error {
		var c column
		err := rows.Scan(&c.name, &c.typ)
		if c.readable() {
			r.columns, r.names = append(r.columns, c), append(r.names, c.name)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the table's columns: %w", err)
	}
	if len(r.columns) == 0 {
		return wrong("must be a table that the user may read: the database " + r.address.Database + " shows none called " + r.address.Table)
	}
	r.cells, r.into = make([]string, len(r.columns)), make([]any, len(r.columns))
	for i := range r.cells {
		r.into[i] = &r.cells[i]
	}
	i := slices.Index(r.names, r.address.Time)
	if i < 0 || !isTime(r.columns[i].typ) {
		return wrong("time: must be a column of type DateTime, DateTime64 or Date that is never NULL; the table has " + listed(r.columns))
	}
	r.time = r.columns[i]
	err = r.each("SELECT engine FROM system.tables WHERE database = "+quoteText(r.address.Database)+" AND name = "+quoteText(r.address.Table), func(rows driver.Rows) error {
		var engine string
		err := rows.Scan(&engine)
		r.final = merges(engine)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the table's engine: %w", err)
	}
	return nil
}

// listed are columns for a message.
func listed(columns []column) string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.name + " " + c.typ
	}
	return strings.Join(all, ", ")
}

// findDays lists the days that have rows within the address's bounds.
func (r *Reader) findDays() error {
	expression := "toDate(" + r.time.quoted() + ", 'UTC')"
	if isDay(r.time.typ) {
		expression = r.time.quoted()
	}
	query := "SELECT " + expression + " AS day_of_rows, count() FROM " + r.table() + r.where(r.address.From, r.address.To) + " GROUP BY day_of_rows ORDER BY day_of_rows"
	err := r.each(query, func(rows driver.Rows) error {
		var start time.Time
		var n uint64
		err := rows.Scan(&start, &n)
		r.days = append(r.days, time.Date(start.Year(), start.Month(), start.Day(), 0, 0, 0, 0, time.UTC))
		r.total += int64(n)
		return err
	})
	if err != nil {
		return fmt.Errorf("looking up the days that have rows: %w", err)
	}
	return nil
}

// table is the table in SQL.
func (r *Reader) table() string {
	name := quoteName(r.address.Database) + "." + quoteName(r.address.Table)
	if r.final {
		return name + " FINAL"
	}
	return name
}

// where selects rows with from ≤ time < to; a zero time is no bound.
func (r *Reader) where(from, to time.Time) string {
	var conditions []string
	for _, bound := range []struct {
		operator string
		at       time.Time
	}{{">=", from}, {"<", to}} {
		if !bound.at.IsZero() {
			conditions = append(conditions, fmt.Sprintf("%s %s fromUnixTimestamp64Micro(toInt64(%d), 'UTC')", r.time.quoted(), bound.operator, bound.at.UnixMicro()))
		}
	}
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// Columns are the table's columns, but for states of aggregate functions.
func (r *Reader) Columns() []string { return r.names }

// Binary makes the cells of the columns hex digits: they hold bytes that are no text, which ClickHouse does not tell. It is for before the first Read.
func (r *Reader) Binary(columns ...string) { r.binary = columns }

// Total is how many rows there were to read when the reader was opened.
func (r *Reader) Total() int64 { return r.total }

// Done counts the rows read so far.
func (r *Reader) Done() *atomic.Int64 { return &r.read }

// Read returns the next row's cells, empty where NULL, or io.EOF. The slice is valid until the next call.
func (r *Reader) Read() ([]string, error) {
	for {
		if r.rows == nil {
			if len(r.days) == 0 {
				return nil, io.EOF
			}
			if err := r.next(); err != nil {
				return nil, err
			}
		}
		if r.rows.Next() {
			if err := r.rows.Scan(r.into...); err != nil {
				return nil, fmt.Errorf("reading a row: %w", told(err))
			}
			r.read.Add(1)
			return r.cells, nil
		}
		err := errors.Join(r.rows.Err(), r.rows.Close())
		if r.rows = nil; err != nil {
			return nil, fmt.Errorf("reading rows: %w", told(err))
		}
	}
}

// next asks for the rows of the next day.
func (r *Reader) next() error {
	from := r.days[0]
	to := from.AddDate(0, 0, 1)
	r.days = r.days[1:]
	if from.Before(r.address.From) {
		from = r.address.From
	}
	if !r.address.To.IsZero() && to.After(r.address.To) {
		to = r.address.To
	}
	expressions := make([]string, len(r.columns))
	for i, c := range r.columns {
		expressions[i] = c.expression(slices.Contains(r.binary, c.name))
	}
	order := []string{r.time.quoted()}
	for _, name := range []string{"subject", "event"} { // of the warehouse's own tables: equal times come in the same order every time
		if name != r.time.name && slices.Contains(r.names, name) {
			order = append(order, quoteName(name))
		}
	}
	query := "SELECT " + strings.Join(expressions, ", ") + " FROM " + r.table() + r.where(from, to) + " ORDER BY " + strings.Join(order, ", ")
	rows, err := r.conn.Query(r.ctx, query)
	if err != nil {
		return fmt.Errorf("asking for the rows of %s: %w", from.Format(time.DateOnly), told(err))
	}
	r.rows = rows
	return nil
}

// each runs a query and gives every row to f.
func (r *Reader) each(query string, f func(driver.Rows) error) error {
	rows, err := r.conn.Query(r.ctx, query)
	if err != nil {
		return told(err)
	}
	for rows.Next() {
		if err := f(rows); err != nil {
			return told(errors.Join(err, rows.Close()))
		}
	}
	return told(errors.Join(rows.Err(), rows.Close()))
}

// Close ends the query under way and the connection.
func (r *Reader) Close() error {
	var err error
	if r.rows != nil {
		err = r.rows.Close()
	}
	if err := errors.Join(err, r.conn.Close()); err != nil && r.ctx.Err() == nil {
		return fmt.Errorf("closing the connection to ClickHouse: %w", told(err))
	}
	return nil
}
