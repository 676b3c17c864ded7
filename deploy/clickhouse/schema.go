// Package schema holds the warehouse's tables in ClickHouse as numbered migrations. `sluice migrate` applies them; a file that has been applied anywhere is
// never edited again, since its checksum is kept with the database: a change is a new file.
package schema

import "embed"

// Files are the migrations, NNNN_name.sql, in the order of their numbers. Every statement ends with ; at the end of its line and may run again
// (IF NOT EXISTS), because a migration that broke off half-way starts from its first statement. Names carry no database: the connection's is meant.
// How long rows are kept is not here: it is the register's to say, and `sluice migrate` sets each table's TTL from it.
//
//go:embed *.sql
var Files embed.FS
