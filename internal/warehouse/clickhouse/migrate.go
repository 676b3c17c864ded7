package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	schema "sluice/deploy/clickhouse"
	"sluice/internal/warehouse"
)

// migrationsTable remembers what is applied. A version that two programs apply at once is there twice, which does no harm.
const migrationsTable = "schema_migrations"

// migration is one file of the schema.
type migration struct {
	version    uint32
	name       string // 0001_rows
	checksum   string // SHA-256 of the file, hex
	statements []string
}

// Migrate brings the database to what this program expects: it creates it, applies the migrations that are not applied yet and makes each table keep its rows
// as long as its Keep says. It names what it did: "0001_rows", "history_events: rows are kept 365d". To run it again does nothing, and one that broke off is
// taken up by the next. A migration that was edited after it had been applied is an error: nothing is done then.
func Migrate(ctx context.Context, o Options, tables []*warehouse.Table) (applied []string, err error) {
	o = o.withDefaults()
	if err := createDatabase(ctx, o); err != nil {
		return nil, err
	}
	conn, err := connect(o, o.Database)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is open any more
	m := migrator{conn, o.Database, o.Logger}
	if err := m.prepare(ctx); err != nil {
		return nil, err
	}
	pending, err := m.pending(ctx)
	if err != nil {
		return nil, err
	}
	for _, file := range pending {
		if err := m.apply(ctx, file); err != nil {
			return applied, err
		}
		applied = append(applied, file.name)
	}
	late, err := ttlsToSet(ctx, conn, o.Database, tables)
	if err != nil {
		return applied, err
	}
	for _, t := range late {
		if err := setTTL(ctx, conn, o.Database, t); err != nil {
			return applied, err
		}
		o.Logger.LogAttrs(ctx, slog.LevelInfo, "rows are kept for another time", slog.String("table", t.Name), slog.String("keep", keepText(t)))
		applied = append(applied, ttlStep(t))
	}
	return applied, nil
}

// Pending names what Migrate would do, in the same words, and does nothing.
func Pending(ctx context.Context, o Options, tables []*warehouse.Table) ([]string, error) {
	o = o.withDefaults()
	conn, err := connect(o, "default") // the database may not exist yet
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is open any more
	pending, err := pendingOf(ctx, conn, o.Database)
	if err != nil {
		return nil, err
	}
	late, err := ttlsToSet(ctx, conn, o.Database, tables)
	for _, t := range late {
		pending = append(pending, ttlStep(t))
	}
	return pending, err
}

func ttlStep(t *warehouse.Table) string { return t.Name + ": rows are kept " + keepText(t) }

// createDatabase creates the database over a connection to the default one, which is always there.
func createDatabase(ctx context.Context, o Options) error {
	conn, err := connect(o, "default")
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is open any more
	if err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(o.Database)); err != nil {
		return fmt.Errorf("clickhouse: creating the database: %w", err)
	}
	return nil
}

// pendingOf names the migrations that are not applied. An edited one is an error.
func pendingOf(ctx context.Context, conn driver.Conn, database string) ([]string, error) {
	m := migrator{conn: conn, database: database}
	files, err := m.pending(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(files))
	for i, file := range files {
		names[i] = file.name
	}
	return names, nil
}

// migrator applies migrations over a connection to their database.
type migrator struct {
	conn     driver.Conn
	database string
	log      *slog.Logger
}

func (m migrator) table() string { return quoteName(m.database) + "." + migrationsTable }

func (m migrator) prepare(ctx context.Context) error {
	err := m.conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+m.table()+
		" (version UInt32, name String, checksum String, applied_at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY version SETTINGS fsync_after_insert = 1")
	if err != nil {
		return fmt.Errorf("clickhouse: table %s: %w", migrationsTable, err)
	}
	return nil
}

// pending are the migrations that are not applied yet, in order.
func (m migrator) pending(ctx context.Context) ([]migration, error) {
	all, err := migrations(schema.Files)
	if err != nil {
		return nil, err
	}
	applied, err := m.applied(ctx)
	if err != nil {
		return nil, err
	}
	var out []migration
	for _, file := range all {
		checksum, ok := applied[file.version]
		switch {
		case !ok:
			out = append(out, file)
		case checksum != file.checksum:
			return nil, fmt.Errorf("clickhouse: migration %s: the file is another one than was applied to the database; "+
				"an applied migration stays as it is, a change is a new file", file.name)
		}
	}
	return out, nil
}

// applied are the checksums of the applied migrations, by version. A database that does not exist has none.
func (m migrator) applied(ctx context.Context) (map[uint32]string, error) {
	exists := false
	err := each(ctx, m.conn, "SELECT name FROM system.tables WHERE database = "+quoteText(m.database)+" AND name = "+quoteText(migrationsTable), func(driver.Rows) error {
		exists = true
		return nil
	})
	out := map[uint32]string{}
	if err == nil && exists {
		err = each(ctx, m.conn, "SELECT version, checksum FROM "+m.table()+" ORDER BY applied_at", func(rows driver.Rows) error {
			var version uint32
			var checksum string
			if err := rows.Scan(&version, &checksum); err != nil {
				return err
			}
			out[version] = checksum
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("clickhouse: reading what is applied: %w", err)
	}
	return out, nil
}

// apply runs a migration's statements and remembers it. Each statement may have run before.
func (m migrator) apply(ctx context.Context, file migration) error {
	for i, statement := range file.statements {
		if err := m.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("clickhouse: migration %s, statement %d: %w", file.name, i+1, err)
		}
	}
	row := strings.Join([]string{strconv.FormatUint(uint64(file.version), 10), quoteText(file.name), quoteText(file.checksum), "now64(6)"}, ", ")
	if err := m.conn.Exec(ctx, "INSERT INTO "+m.table()+" (version, name, checksum, applied_at) SELECT "+row); err != nil {
		return fmt.Errorf("clickhouse: migration %s: remembering it: %w", file.name, err)
	}
	m.log.LogAttrs(ctx, slog.LevelInfo, "migration applied", slog.String("name", file.name))
	return nil
}

// migrations reads the files of a schema, NNNN_name.sql. Their numbers count from 1 without a gap.
func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return nil, err
	}
	out := make([]migration, 0, len(names))
	for i, name := range names {
		file := migration{version: uint32(i + 1), name: strings.TrimSuffix(path.Base(name), ".sql")}
		if number, rest, _ := strings.Cut(file.name, "_"); number != fmt.Sprintf("%04d", i+1) || rest == "" {
			return nil, fmt.Errorf("migration %s: its name must be like %04d_what.sql", file.name, i+1)
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		file.checksum = hex.EncodeToString(sum[:])
		if file.statements, err = split(string(content)); err != nil {
			return nil, fmt.Errorf("migration %s: %w", file.name, err)
		}
		out = append(out, file)
	}
	return out, nil
}
